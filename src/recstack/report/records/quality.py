"""How good scores are, and what lower precision costs them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field, FiniteFloat, StrictInt

from recstack.report.records.base import Record


class Accuracy(Record):
    """How good the scores are, on `rows` rows; low and high are the ends of an interval."""

    model: str
    rows: StrictInt = Field(ge=0)
    auc: FiniteFloat
    auc_low: FiniteFloat
    auc_high: FiniteFloat
    log_loss: FiniteFloat
    log_loss_low: FiniteFloat
    log_loss_high: FiniteFloat
    torch_auc: FiniteFloat | None = None
    baseline: str
    baseline_auc: FiniteFloat


class Span(BaseModel):
    """A value and the interval around it."""

    value: FiniteFloat
    low: FiniteFloat
    high: FiniteFloat


class Tried(BaseModel):
    """A precision plan, what it costs, and how much worse the metric is with it."""

    rows: Literal["search", "proof"]
    cost: FiniteFloat
    outcome: Literal["within", "exceeded", "unproven"]
    harm: Span | None


class Chosen(BaseModel):
    """What a table or layer is computed in, what it costs so and in fp32, and why."""

    name: str
    kind: Literal["table", "layer"]
    precision: str
    cost: FiniteFloat
    fp32_cost: FiniteFloat
    note: str = ""


class Precision(Record):
    """A search for a precision plan, or one plan put to the proof."""

    model: str
    metric: str
    budget: str
    limit: FiniteFloat
    relative: bool
    verdict: Literal["proven", "too_small", "not_within", "not_faster"]
    reason: str
    objective: str
    unit: str
    tried: tuple[Tried, ...] = ()
    chosen: tuple[Chosen, ...] = ()
    bytes: tuple[StrictInt, StrictInt] | None = None
    ns: tuple[FiniteFloat, FiniteFloat] | None = None
    rows: StrictInt = 0
    deployment: Literal["new", "before", "none"] = "none"


class OpError(Record):
    """How far an op is from fp32: with all before it, and by its own precision alone."""

    class Size(BaseModel):
        """Of an error."""

        sqnr_db: FiniteFloat
        largest: FiniteFloat

    class Values(BaseModel):
        """Counts in equal bins from low to high."""

        low: FiniteFloat
        high: FiniteFloat
        reference: tuple[StrictInt, ...]
        quantised: tuple[StrictInt, ...]

    name: str
    kind: str
    unit: str = ""
    precision: str
    total: Size
    own: Size | None
    saturation: FiniteFloat | None
    columns: tuple[StrictInt, ...] = ()
    values: Values
