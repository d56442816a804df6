"""The open-loop driver: issues queries at their scheduled times, whatever becomes of them.

Latency counts from the scheduled time. A driver that waited for answers, or that dated a query when
it got round to issuing it, would slow down together with the system and hide its worst moments
(coordinated omission).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from recstack.clock import RealClock
from recstack.errors import ConfigError
from recstack.loadtest.calm import calm
from recstack.loadtest.metrics import latencies_ns
from recstack.loadtest.outcome import CODES, ERROR, LOST, LoadResult
from recstack.loadtest.sla import SLA
from recstack.loadtest.stationarity import warmup_cut
from recstack.loadtest.traffic import check_same_length
from recstack.loadtest.whole import drive_whole
from recstack.types import SUT, Clock, Completion, Origin, Query, ScheduleSUT

_MAX_ERRORS = 8


@dataclass(frozen=True, slots=True)
class DriverConfig:
    """How a run is driven.

    deadline_ns: each query's deadline, counted from its scheduled arrival; None for none.
    warmup: leading queries left out of metrics; None finds the cut (`stationarity.warmup_cut`).
    drain_ns: how long after the last arrival to wait for answers; the rest are lost.
    lead_ns: from the call to the start of the schedule.
    switch_interval_s: the interpreter's thread switch interval during the run; the default of 5 ms
        would let one busy Python thread hold up the issuing one for that long.
    whole: a system that can issue the schedule itself (`recstack.types.ScheduleSUT`) does; else,
        and with a clock of the caller's, the calling thread issues query by query.
    """

    deadline_ns: int | None = None
    warmup: int | None = None
    drain_ns: int = 10_000_000_000
    lead_ns: int = 5_000_000
    switch_interval_s: float = 0.0001
    whole: bool = True

    @classmethod
    def giving_up(cls, sla: SLA) -> Self:
        """Queries are given up once they are hopeless, and waited for until then."""
        return cls(deadline_ns=sla.hopeless_ns, drain_ns=sla.hopeless_ns + 1_000_000_000)

    def __post_init__(self) -> None:
        for name, least in (("deadline_ns", 1), ("warmup", 0), ("drain_ns", 0), ("lead_ns", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"expected {name} >= {least}, got {value}")
        if not 0 < self.switch_interval_s <= 1:
            raise ConfigError(f"expected switch_interval_s in (0, 1], got {self.switch_interval_s}")


def drive(
    sut: SUT,
    queries: Sequence[Query],
    scheduled_ns: NDArray[np.int64],
    *,
    config: DriverConfig | None = None,
    clock: Clock | None = None,
    origin: Origin = "measured",
) -> LoadResult:
    """Run a schedule against a system and wait for the stragglers.

    A system that issues whole schedules itself, as the dispatcher in process does from a native
    thread, is given it; else the calling thread issues.

    Parameters
    ----------
    sut: what answers; it is not closed.
    queries: one per arrival, made beforehand (`traffic.make_queries`). The driver sends their
        batches under ids 0..n-1, with a deadline from `config`; their own must be None.
    scheduled_ns: (n,) int64, ascending, since the start of the run.
    clock: monotonic, the one that the system dates its completions by; real when None.
    origin: "simulated" when clock or system are.

    Returns
    -------
    Every query's times and status. One that is not answered in time is "lost"; one whose `issue`
    raised is an "error".

    Raises
    ------
    ConfigError: queries and schedule do not match, or the warm-up leaves none.
    BatchError: a system that takes the whole schedule finds a batch that it cannot take.

    >>> from recstack.loadtest import null, traffic
    >>> plan = traffic.make_traffic(10_000.0, 100, seed=0)
    >>> queries = traffic.make_queries(null.empty_query, plan.rows)
    >>> int((drive(null.NullSUT(), queries, plan.scheduled_ns).status == 0).sum())
    100
    """
    config = DriverConfig() if config is None else config
    check_same_length(queries, scheduled_ns)
    if config.warmup is not None and config.warmup >= len(queries):
        raise ConfigError(
            f"expected a warm-up shorter than {len(queries)} queries, got {config.warmup}"
        )
    if any(query.deadline_ns is not None for query in queries):
        raise ConfigError("expected queries without a deadline: DriverConfig.deadline_ns sets it")
    if config.whole and clock is None and isinstance(sut, ScheduleSUT):
        with calm(config.switch_interval_s):
            result = drive_whole(
                sut, queries, scheduled_ns,
                lead_ns=config.lead_ns, deadline_ns=config.deadline_ns, drain_ns=config.drain_ns,
                origin=origin,
            )  # fmt: skip
    else:
        result = _drive_each(sut, queries, scheduled_ns, config, clock or RealClock(), origin)
    if config.warmup is not None:
        return replace(result, warmup=config.warmup)
    return replace(result, warmup=warmup_cut(latencies_ns(result)))


def _drive_each(
    sut: SUT,
    queries: Sequence[Query],
    scheduled_ns: NDArray[np.int64],
    config: DriverConfig,
    clock: Clock,
    origin: Origin,
) -> LoadResult:
    """The run, issued by the calling thread."""
    record = _Record(len(queries))
    with calm(config.switch_interval_s):
        start_ns = clock.now_ns() + config.lead_ns
        issued = _issue(sut, queries, scheduled_ns.tolist(), start_ns, config, clock, record.done)
        _drain(record, clock, clock.now_ns() + config.drain_ns)
    rows = np.array([query.batch.rows for query in queries], np.int64)
    return record.result(scheduled_ns, issued, rows, start_ns, origin)


def _issue(
    sut: SUT,
    queries: Sequence[Query],
    offsets_ns: list[int],
    start_ns: int,
    config: DriverConfig,
    clock: Clock,
    done: Callable[[Completion], None],
) -> list[int]:
    """Issue every query at its time; the moments of issue, on the clock."""
    batches = [query.batch for query in queries]
    issued = [0] * len(batches)
    issue, now_ns, sleep_until_ns = sut.issue, clock.now_ns, clock.sleep_until_ns
    deadline_ns = config.deadline_ns
    for i, offset_ns in enumerate(offsets_ns):
        due_ns = start_ns + offset_ns
        query = Query(i, batches[i], None if deadline_ns is None else due_ns + deadline_ns)
        sleep_until_ns(due_ns)
        issued[i] = now_ns()
        try:
            issue(query, done)
        except Exception as error:
            done(Completion(i, "error", now_ns(), error=f"issue raised {error!r}"))
    return issued


def _drain(record: _Record, clock: Clock, until_ns: int) -> None:
    while not record.complete and (now_ns := clock.now_ns()) < until_ns:
        clock.sleep_until_ns(min(now_ns + 2_000_000, until_ns))


class _Record:
    """Collects completions from any thread, without a lock: each step is one atomic list or dict
    operation, and a query's status is written last."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._open = dict.fromkeys(range(n), True)
        self._finished = [-1] * n
        self._status = [LOST] * n
        self._stages: dict[int, Mapping[str, int]] = {}
        self._ended: list[None] = []
        self._strays: list[None] = []
        self._errors: dict[str, None] = {}

    @property
    def complete(self) -> bool:
        """Whether every query has ended."""
        return len(self._ended) == self._n

    def done(self, completion: Completion) -> None:
        """Take one completion; a second one of the same query is a stray."""
        i = completion.id
        if self._open.pop(i, None) is None:
            self._strays.append(None)
            return
        self._finished[i] = completion.finish_ns
        if completion.stages_ns:
            self._stages[i] = completion.stages_ns
        if completion.error and len(self._errors) < _MAX_ERRORS:
            self._errors[completion.error] = None
        self._status[i] = CODES.get(completion.status, ERROR)
        self._ended.append(None)

    def result(
        self,
        scheduled_ns: NDArray[np.int64],
        issued: list[int],
        rows: NDArray[np.int64],
        start_ns: int,
        origin: Origin,
    ) -> LoadResult:
        """A copy of what has come in so far; later completions change nothing."""
        status = np.array(self._status, np.uint8)
        finished = np.array(self._finished, np.int64) - start_ns
        finished[status == LOST] = -1
        return LoadResult(
            scheduled_ns=scheduled_ns.copy(),
            issued_ns=np.array(issued, np.int64) - start_ns,
            finished_ns=finished,
            rows=rows,
            status=status,
            stages_ns=self._stage_arrays(),
            strays=len(self._strays),
            errors=tuple(self._errors.copy()),
            origin=origin,
        )

    def _stage_arrays(self) -> dict[str, NDArray[np.int64]]:
        stages: dict[str, NDArray[np.int64]] = {}
        for i, durations in self._stages.copy().items():
            for name, duration_ns in durations.items():
                if name not in stages:
                    stages[name] = np.full(self._n, -1, np.int64)
                stages[name][i] = duration_ns
        return stages
