"""The sorts of record that a report shows, validated at the edge; others are kept as they are."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    PlainValidator,
    StrictInt,
    model_validator,
)

from recstack.types import Origin

_SLA = re.compile(r"\s*p(\d+(?:\.\d+)?)\s*(?:<=|≤)\s*(\d+(?:\.\d+)?)\s*(ns|us|µs|ms|s)\s*")
_SLA_NS = {"ns": 1, "us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
_TIMES = ("scheduled_ns", "issued_ns", "finished_ns", "rows", "status")


class SLA(BaseModel):
    """`percentile` percent of the queries within `limit_ns`; written as `p95<=10ms`."""

    model_config = ConfigDict(frozen=True)
    percentile: float = Field(gt=0, lt=100)
    limit_ns: FiniteFloat = Field(gt=0)

    @model_validator(mode="before")
    @classmethod
    def _parse(cls, text: object) -> object:
        found = _SLA.fullmatch(text) if isinstance(text, str) else None
        if not found:
            raise ValueError(f"expected an SLA such as 'p95<=10ms', got {text!r}")
        percentile, limit, unit = found.groups()
        return {"percentile": float(percentile), "limit_ns": float(limit) * _SLA_NS[unit]}

    @property
    def share(self) -> float:
        """The percentile as a share."""
        return self.percentile / 100.0

    def __str__(self) -> str:
        unit = next(u for u in ("s", "ms", "µs", "ns") if self.limit_ns >= _SLA_NS[u] or u == "ns")
        return f"p{self.percentile:g}\u00a0≤\u00a0{self.limit_ns / _SLA_NS[unit]:g}\u00a0{unit}"


def _array(value: object) -> NDArray[np.int64]:
    if not isinstance(value, list):
        raise ValueError(f"expected an array of integers, got {type(value).__name__}")
    array = np.asarray(value)
    if array.size and (array.dtype != np.int64 or array.ndim != 1):
        raise ValueError(f"expected an array of integers, got {array.ndim}-d {array.dtype}")
    return array.astype(np.int64).reshape(-1)


Integers = Annotated[NDArray[np.int64], PlainValidator(_array)]


class Record(BaseModel):
    """What every sort has; keys that it does not know are left alone."""

    model_config = ConfigDict(frozen=True, extra="ignore", arbitrary_types_allowed=True)
    origin: Origin


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


class Probe(BaseModel):
    """One rate that a search tried: `over` of `queries` were past the limit."""

    rate_qps: FiniteFloat
    outcome: Literal["pass", "fail", "undecided", "invalid"]
    over: StrictInt
    queries: StrictInt
    runs: StrictInt
    effect: FiniteFloat
    reason: str = ""

    @property
    def share_over(self) -> float | None:
        """The share past the limit; None without queries."""
        return self.over / self.queries if self.queries else None


class Found(Record):
    """QPS@SLA of a deployment: between low (the highest that passed) and high.

    model, policy: where searches of several are compared.
    """

    label: str
    model: str = ""
    policy: str = ""
    deployment: dict[str, Any] = {}
    sla: SLA
    low_qps: FiniteFloat = Field(ge=0)
    high_qps: FiniteFloat | None
    high_outcome: str | None
    confidence: FiniteFloat = Field(gt=0, lt=1)
    probes: tuple[Probe, ...]


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


class Roof(BaseModel):
    """A bandwidth that nothing of its sort exceeds: of a level, or of gathered table rows."""

    name: str
    gb_s: FiniteFloat = Field(gt=0)


class Roofline(Record):
    """A batch's work and time beside its floor, as `recstack.profile.roofline` makes it."""

    model: str
    rows: StrictInt = Field(gt=0)
    queries: StrictInt = Field(ge=0)
    threads: StrictInt = Field(gt=0)
    isa: str
    flops: StrictInt = Field(gt=0)
    bytes: StrictInt = Field(gt=0)
    measured_us: Annotated[FiniteFloat, Field(gt=0)] | None
    floor_us: FiniteFloat = Field(gt=0)
    bound: str
    peak_gflop_s: FiniteFloat = Field(gt=0)
    roofs: tuple[Roof, ...]

    @property
    def intensity(self) -> float:
        """FLOP per byte of weights and table rows."""
        return self.flops / self.bytes

    def gflop_s(self, us: float) -> float:
        """The rate that a time makes."""
        return self.flops / us / 1e3


class Contender(BaseModel):
    """One engine's time for one batch size; no time where it could not run, and why not."""

    contender: str
    status: str
    reason: str = ""
    us: Annotated[FiniteFloat, Field(gt=0)] | None = None


class Cell(Record):
    """Batches of `rows` rows through recstack, the first contender, and its peers."""

    model: str
    rows: StrictInt = Field(gt=0)
    threads: StrictInt = Field(gt=0)
    isa: str
    inputs: str
    found: tuple[Contender, ...] = Field(min_length=1)


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
    harm: Span


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
    verdict: Literal["proven", "too_small", "not_within"]
    reason: str
    objective: str
    unit: str
    tried: tuple[Tried, ...] = ()
    chosen: tuple[Chosen, ...] = ()
    bytes: tuple[StrictInt, StrictInt] | None = None
    ns: tuple[FiniteFloat, FiniteFloat] | None = None
    rows: StrictInt = 0


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


class Timeline(Record):
    """What lanes ran: (chunks,) arrays, and (queries,) arrival and rows; ns since the start."""

    label: str
    lanes: StrictInt = Field(gt=0)
    chunk_query: Integers
    chunk_lane: Integers
    chunk_start_ns: Integers
    chunk_end_ns: Integers
    arrival_ns: Integers
    rows: Integers

    @model_validator(mode="after")
    def _fits(self) -> Self:
        n, queries = self.chunk_query.size, self.arrival_ns.size
        for name in ("chunk_lane", "chunk_start_ns", "chunk_end_ns"):
            if getattr(self, name).size != n:
                raise ValueError(f"expected {n} values in {name!r}")
        if self.rows.size != queries:
            raise ValueError(f"expected {queries} values in 'rows', got {self.rows.size}")
        if n and not 0 <= self.chunk_query.min() <= self.chunk_query.max() < queries:
            raise ValueError(f"expected queries in [0, {queries})")
        if n and not 0 <= self.chunk_lane.min() <= self.chunk_lane.max() < self.lanes:
            raise ValueError(f"expected lanes in [0, {self.lanes})")
        return self


Ratios = tuple[tuple[FiniteFloat, ...], ...]


class Colocation(Record):
    """Slowdowns of (victim, beside), medians, least and most of the rounds."""

    models: tuple[str, ...]
    rows: StrictInt
    bytes_per_flop: tuple[FiniteFloat, ...]
    alone_us: tuple[FiniteFloat, ...]
    slowdown: Ratios
    low: Ratios
    high: Ratios
    trend: str


class OnePlacement(BaseModel):
    """Models on lanes: rates modelled, and held when all ran at once."""

    label: str
    lanes: tuple[tuple[str, ...], ...]
    modelled_qps: dict[str, FiniteFloat]
    scale: FiniteFloat
    qps: dict[str, FiniteFloat]
    tail_ms: dict[str, FiniteFloat | None]


class Placed(Record):
    """Placements of models under their SLAs."""

    slas: dict[str, SLA]
    alone_qps: dict[str, FiniteFloat]
    placements: tuple[OnePlacement, ...]


class Note(Record):
    """A sentence for the reader."""

    text: str


SORTS: dict[str, type[Record]] = {
    "accuracy": Accuracy,
    "qps_at_sla": Found,
    "load": Load,
    "null": Null,
    "mlperf": LoadGen,
    "stages": Stages,
    "roofline": Roofline,
    "cell": Cell,
    "precision": Precision,
    "op_error": OpError,
    "timeline": Timeline,
    "colocation": Colocation,
    "placement": Placed,
    "note": Note,
}
