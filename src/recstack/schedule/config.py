"""How queries are queued, cut, merged and placed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from recstack import _native
from recstack.schedule.costs import Costs

Cores = tuple[Annotated[int, Field(ge=0, le=65535)], ...]
SPIN_US = 20.0
ISSUE_SPIN_US = 60.0


class AcceleratorConfig(BaseModel):
    """Lanes on a device of their own, beside those on cores; frozen, unknown keys are errors.

    device: torch's name of it, such as "cuda"; "cpu" runs the same code for a trial.
    lanes: batches that it runs at once.
    threshold_rows: of the policy "fixed": queries of so many rows or more go whole to the device,
        the others to the cores. "slack" chooses by predicted finish.
    largest_rows: the largest batch that the device is prepared for.
    costs: what batches cost there, transfers included; "slack" needs them.

    >>> AcceleratorConfig(threshold_rows=256).device
    'cuda'
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    device: str = "cuda"
    lanes: int = Field(default=1, ge=1, le=64)
    threshold_rows: int = Field(default=1, ge=1, le=1 << 30)
    largest_rows: int = Field(default=1024, ge=1, le=1 << 16)
    costs: Costs | None = None


class ScheduleConfig(BaseModel):
    """Choices of a dispatcher; frozen, unknown keys are errors.

    lanes: batches that run at once, each on a thread that owns its cores.
    threads_per_lane: cores that a lane is given; the executor decides how many it uses.
    policy: "fixed": the same chunks at all loads, and refusals by the pace of the last batches;
        "slack": chunks, merging, order and refusals by what else waits and by deadlines, predicted
        from `costs`.
    cores: core numbers of each lane; None deals out the cores that this process may use, where
        there are enough of them, and binds nothing where there are not; () binds nothing.
    chunk_rows: a query larger than this is cut in nearly equal chunks of at most this many rows.
    merge_rows: waiting queries are merged into batches of at most this many rows; 0: never.
    merge_window_us: how long a lane may stay idle for queries to merge; 0: not at all.
    order: who is served first: "arrival", or the earliest "deadline". These four: of "fixed".
    target_ms: the deadline that "slack" gives a query without one, since its arrival; None: none.
    shed: whom "slack" refuses when not all that waits can be done in time: the "largest" query, so
        that the fewest are lost, or the "latest".
    costs: what batches cost, by `measure_costs`; "slack" needs them.
    queue_queries: queries that may wait; more are refused.
    queue_rows: rows that may wait.
    accelerator: further lanes, on a device; None for none.
    spin_us: how long an idle lane looks for work before it sleeps; None: 20 us where a core is left
        over for the thread that submits, else 0.

    >>> ScheduleConfig(lanes=2, threads_per_lane=2).lane_cores(range(8))
    [[0, 1], [2, 3]]
    >>> ScheduleConfig(lanes=2).lane_cores([0])
    [[], []]
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    policy: Literal["fixed", "slack"] = "fixed"
    lanes: int = Field(default=1, ge=1, le=4096)
    threads_per_lane: int = Field(default=1, ge=1, le=1024)
    cores: tuple[Cores, ...] | None = None
    chunk_rows: int = Field(default=256, ge=1, le=1 << 30)
    merge_rows: int = Field(default=256, ge=0, le=1 << 20)
    merge_window_us: float = Field(default=0.0, ge=0.0, le=1e6)
    order: Literal["arrival", "deadline"] = "arrival"
    target_ms: float | None = Field(default=None, gt=0.0, le=1e7)
    shed: Literal["largest", "latest"] = "largest"
    costs: Costs | None = None
    accelerator: AcceleratorConfig | None = None
    queue_queries: int = Field(default=1024, ge=1, le=1 << 20)
    queue_rows: int = Field(default=1 << 20, ge=1)
    spin_us: float | None = Field(default=None, ge=0.0, le=1e6)

    @model_validator(mode="after")
    def _cores_fit_lanes(self) -> Self:
        if self.cores and len(self.cores) != self.lanes:
            raise ValueError(f"expected cores of {self.lanes} lanes, got {len(self.cores)}")
        if self.policy == "slack" and self.costs is None:
            raise ValueError("expected costs with policy 'slack', which predicts with them")
        if self.policy == "slack" and self.accelerator and self.accelerator.costs is None:
            raise ValueError("expected the accelerator's costs with policy 'slack'")
        return self

    def native_policy(self) -> _native.Policy:
        """The policy, for a dispatcher or a simulation."""
        if self.policy == "slack":
            target_ns = -1 if self.target_ms is None else round(self.target_ms * 1e6)
            return _native.SlackPolicy(target_ns, self.shed == "largest")
        return _native.FixedPolicy(
            self.chunk_rows,
            self.merge_rows,
            round(self.merge_window_us * 1e3),
            self.order == "deadline",
            self.accelerator.threshold_rows if self.accelerator else 0,
        )

    def curves(self) -> list[_native.CostCurve]:
        """A new curve for each kind of lane; none where one of them is not known."""
        given = [self.costs] + ([self.accelerator.costs] if self.accelerator else [])
        known = [costs for costs in given if costs is not None]
        return [costs.curve() for costs in known] if len(known) == len(given) else []

    def lane_cores(self, allowed: Sequence[int] | None = None) -> list[list[int]]:
        """The cores of each lane; [] for one that is not bound. `allowed`: this process's cores."""
        if self.cores:
            return [list(cores) for cores in self.cores]
        each = self.threads_per_lane
        allowed = _allowed() if allowed is None else allowed
        if self.cores is not None or len(allowed) < self.lanes * each:
            return [[] for _ in range(self.lanes)]
        return [list(allowed[i * each : (i + 1) * each]) for i in range(self.lanes)]

    def spin_ns(self, allowed: Sequence[int] | None = None) -> int:
        """How long an idle lane spins, in nanoseconds."""
        if self.spin_us is not None:
            return round(self.spin_us * 1e3)
        return round(SPIN_US * 1e3) if self._leaves_a_core(allowed) else 0

    def issue_spin_ns(self, allowed: Sequence[int] | None = None) -> int:
        """The last stretch before each arrival that a load test's issuing thread spins through.

        Without a core of its own it only sleeps: a spinner uses up its share of the cores and then
        stands behind the lanes (LOG.md, "a native issuing thread").
        """
        return round(ISSUE_SPIN_US * 1e3) if self._leaves_a_core(allowed) else 0

    def _leaves_a_core(self, allowed: Sequence[int] | None) -> bool:
        cores = len(_allowed() if allowed is None else allowed)
        taken = self.lanes * self.threads_per_lane
        return cores > taken + (self.accelerator.lanes if self.accelerator else 0)


def _allowed() -> list[int]:
    return sorted(os.sched_getaffinity(0))
