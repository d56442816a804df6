"""Searches of QPS@SLA, policies, lanes in time, models side by side."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
from pydantic import BaseModel, Field, FiniteFloat, StrictInt, model_validator

from recstack.report.records.base import SLA, Integers, Record


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

    model, policy, engine, lanes: where searches of several are compared. chunk_rows: of fixed
    chunks.
    """

    label: str
    model: str = ""
    policy: str = ""
    engine: str = ""
    lanes: StrictInt = Field(default=0, ge=0)
    chunk_rows: StrictInt | None = None
    deployment: dict[str, Any] = Field(default={})
    sla: SLA
    low_qps: FiniteFloat = Field(ge=0)
    high_qps: FiniteFloat | None
    high_outcome: str | None
    confidence: FiniteFloat = Field(gt=0, lt=1)
    probes: tuple[Probe, ...]


class Quantile(BaseModel):
    """A percentile and its interval, ns; None: infinite, as so many queries were not answered."""

    value: FiniteFloat | None
    low: FiniteFloat | None
    high: FiniteFloat | None


class AtLoad(Record):
    """What a policy made of queries at an offered rate, `of_qps_at_sla` times its QPS@SLA.

    goodput_qps, goodput_rows: queries, and their rows, answered within the limit, per second of
    offered load. refused: the share not answered, and the longest time
    from an arrival to a refusal.
    """

    model: str
    policy: str
    engine: str = ""
    lanes: StrictInt = Field(ge=0)
    sla: SLA
    rate_qps: FiniteFloat = Field(gt=0)
    of_qps_at_sla: FiniteFloat
    goodput_qps: FiniteFloat = Field(ge=0)
    goodput_rows: FiniteFloat = Field(ge=0)
    refused: FiniteFloat
    longest_refusal_ms: FiniteFloat = 0.0
    queries: StrictInt | None = None
    latency_ns: dict[str, Quantile] = Field(default={})


class Large(Record):
    """p95 of small queries alone, and with a large one among each thousand."""

    model: str
    engine: str = ""
    lanes: StrictInt = Field(ge=0)
    alone_p95_ms: FiniteFloat
    among_p95_ms: FiniteFloat
    ratio: FiniteFloat


class Curve(BaseModel):
    """Of 1, 2, 4, ... rows at each count of busy lanes, microseconds."""

    busy: tuple[StrictInt, ...] = Field(min_length=1)
    service_us: tuple[tuple[FiniteFloat, ...], ...]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(self.service_us) != len(self.busy) or len(set(map(len, self.service_us))) != 1:
            raise ValueError(f"expected {len(self.busy)} rows of service_us, of one length")
        return self


class BatchCosts(Record):
    """What batches of a model cost a lane."""

    model: str
    engine: str = ""
    costs: Curve


class Timeline(Record):
    """What lanes ran: (chunks,) arrays, and (queries,) arrays; ns since the start.

    lane_kinds: of each lane, "lane" or "accelerator"; () for lanes alone. refused_ns: (queries,)
    when a query was refused, -1 if it was not; () where nobody says.
    """

    label: str
    model: str = ""
    policy: str = ""
    lanes: StrictInt = Field(gt=0)
    lane_kinds: tuple[Literal["lane", "accelerator"], ...] = ()
    chunk_query: Integers
    chunk_lane: Integers
    chunk_start_ns: Integers
    chunk_end_ns: Integers
    arrival_ns: Integers
    rows: Integers
    refused_ns: Integers = np.empty(0, np.int64)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        n, queries = self.chunk_query.size, self.arrival_ns.size
        for name in ("chunk_lane", "chunk_start_ns", "chunk_end_ns"):
            if getattr(self, name).size != n:
                raise ValueError(f"expected {n} values in {name!r}")
        if self.rows.size != queries or self.refused_ns.size not in (0, queries):
            raise ValueError(f"expected {queries} values in 'rows' and in 'refused_ns', if any")
        if len(self.lane_kinds) not in (0, self.lanes):
            raise ValueError(f"expected {self.lanes} kinds of lanes or none")
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
