"""Load runs, and what the generator adds to them."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, Field, FiniteFloat, StrictInt, model_validator

from recstack.report.records.base import SLA, Integers, Record

_TIMES = ("scheduled_ns", "issued_ns", "finished_ns", "rows", "status")


class Load(Record):
    """A load run: (n,) arrays, as `recstack.loadtest` left them; reasons say why it is invalid, and
    sla what it is held against, arrivals, sizes and indices its traffic, where the run says so.
    """

    label: str
    rate_qps: FiniteFloat
    transport: str
    statuses: tuple[str, ...]
    warmup: StrictInt = Field(ge=0)
    strays: StrictInt = Field(ge=0)
    errors: tuple[str, ...]
    stages_ns: dict[str, Integers]
    scheduled_ns: Integers
    issued_ns: Integers
    finished_ns: Integers
    rows: Integers
    status: Integers
    reasons: tuple[str, ...] = ()
    sla: SLA | None = None
    arrivals: str = ""
    sizes: str = ""
    indices: str = ""

    @model_validator(mode="after")
    def _same_length(self) -> Self:
        n = self.scheduled_ns.size
        arrays = {name: getattr(self, name) for name in _TIMES}
        for name, array in {**arrays, **self.stages_ns}.items():
            if array.size != n:
                raise ValueError(f"expected {n} values in {name!r}, got {array.size}")
        if "ok" not in self.statuses:
            raise ValueError(f"expected 'ok' among the statuses, got {self.statuses}")
        if n and not 0 <= self.status.min() <= self.status.max() < len(self.statuses):
            raise ValueError(f"expected status codes in [0, {len(self.statuses)})")
        return self


class Null(Record):
    """What the load generator alone costs."""

    rate_qps: FiniteFloat
    queries: StrictInt
    latency_ns: dict[str, dict[str, FiniteFloat]]
    lateness_p99_ns: FiniteFloat


class Condition(BaseModel):
    """What a submission asks, and what a run under LoadGen had."""

    name: str
    expected: str
    found: str
    outcome: Literal["met", "scaled", "failed"]


class LoadGen(Record):
    """A run under MLPerf's LoadGen, never official."""

    label: Literal["unofficial"]
    model: str
    scenario: str
    mode: Literal["performance", "accuracy"]
    verdict: str
    conditions: tuple[Condition, ...]
    loadgen_percentiles_ns: dict[str, FiniteFloat]
    own_percentiles_ns: dict[str, FiniteFloat]
    loadgen_version: str


class Stage(BaseModel):
    """Durations of one stage."""

    count: StrictInt
    mean_ns: FiniteFloat
    p50_ns: FiniteFloat
    p95_ns: FiniteFloat
    p99_ns: FiniteFloat


class Stages(Record):
    """Where the time of a run went."""

    label: str
    stages: dict[str, Stage]
