"""What a candidate is measured on: a system made for it, the same traffic for every one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from recstack.loadtest import (
    SLA,
    DriverConfig,
    LoadResult,
    SearchConfig,
    drive,
    make_queries,
    make_traffic,
)
from recstack.loadtest.search import Measure, Probe, probe_rate
from recstack.loadtest.sizes import Sizes
from recstack.tune.journal import Journal
from recstack.tune.queries import QueryFactory
from recstack.tune.space import Candidate
from recstack.types import SUT, Origin


@dataclass(frozen=True, slots=True)
class RunConfig:
    """One run's length: `run_s` seconds of schedule, at least `min_queries` where that takes no
    longer than four times as long, at most `max_queries`."""

    run_s: float = 1.0
    min_queries: int = 500
    max_queries: int = 4000

    def queries(self, qps: float) -> int:
        """How many queries a run at this rate has."""
        wanted = max(qps * self.run_s, min(self.min_queries, 4 * qps * self.run_s))
        return int(min(max(wanted, 1), self.max_queries))


def measure_on(
    sut: SUT, factory: QueryFactory, sizes: Sizes, sla: SLA, run: RunConfig, origin: Origin
) -> Measure:
    """Runs against a system: the same normalised gaps, sizes and inputs at every rate of a seed."""

    def measure(qps: float, seed: int) -> LoadResult:
        traffic = make_traffic(qps, run.queries(qps), seed=seed, distribution=sizes)
        queries = make_queries(factory, traffic.rows)
        config = DriverConfig.giving_up(sla)
        return drive(sut, queries, traffic.scheduled_ns, config=config, origin=origin)

    return measure


class Rig:
    """Probes candidates one after the other on systems that `start` makes, and keeps a journal.

    The last system stays open for the next probe; `close` closes it.
    """

    def __init__(
        self,
        start: Callable[[Candidate], SUT],
        measure: Callable[[SUT], Measure],
        sla: SLA,
        config: SearchConfig,
        journal: Journal,
        watch: Callable[[Candidate, Probe], None] = lambda candidate, probe: None,
    ) -> None:
        self._start = start
        self._measure = measure
        self._sla = sla
        self._config = config
        self._journal = journal
        self._watch = watch
        self._open: tuple[Candidate, SUT, Measure] | None = None

    def probe(self, candidate: Candidate, rate_qps: float, seed: int) -> Probe:
        """One rate, from the journal where it is known."""
        config = SearchConfig(
            start_qps=rate_qps, min_qps=rate_qps, max_qps=rate_qps, runs=self._config.runs,
            confidence=self._config.confidence, seed=seed,
        )  # fmt: skip
        probe = self._journal.answer(
            f"{float(rate_qps)!r} qps, seed {seed}, {candidate.key}", Probe,
            lambda: probe_rate(self._on(candidate), rate_qps, self._sla, config),
        )  # fmt: skip
        self._watch(candidate, probe)
        return probe

    def close(self) -> None:
        """Close the system that is open."""
        if self._open is not None:
            _end(self._open[1])
            self._open = None

    def _on(self, candidate: Candidate) -> Measure:
        if self._open is None or self._open[0] != candidate:
            self.close()
            sut = self._start(candidate)
            self._open = candidate, sut, self._measure(sut)
        return self._open[2]


def _end(sut: SUT) -> None:
    from recstack.schedule import LoopDispatcher

    if isinstance(sut, LoopDispatcher):
        sut.close(drain=False)  # what still waits is of no use
    else:
        sut.close()
