from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from recstack import results
from recstack.clock import FakeClock
from recstack.errors import ConfigError
from recstack.loadtest import arrivals, sizes, traffic
from recstack.loadtest.driver import DriverConfig, drive
from recstack.loadtest.null import empty_query
from recstack.loadtest.outcome import LoadResult
from recstack.loadtest.search import (
    Found,
    Measure,
    Probe,
    SearchConfig,
    probe_rate,
    qps_at_sla,
    search_again,
)
from recstack.loadtest.sla import SLA
from recstack.types import Completion, Query

MU = 1000.0


def mm1(queries: int = 20_000) -> Measure:
    """Sojourn times of an M/M/1 queue of 1000 queries/s, by Lindley's recursion."""

    def measure(rate_qps: float, seed: int) -> np.ndarray:
        gaps, services = np.random.default_rng(seed).spawn(2)
        arrived = arrivals.poisson(rate_qps, queries, gaps).astype(np.float64)
        service = services.standard_exponential(queries) / MU * 1e9
        worked = np.cumsum(service)
        left = worked + np.maximum.accumulate(arrived - (worked - service))
        return (left - arrived)[queries // 20 :]

    return measure


def closed_form(sla: SLA) -> float:
    """Rate at which an M/M/1 queue's sojourn time, Exp(mu - rate), meets the SLA exactly."""
    return MU + math.log(sla.allowed) / (sla.limit_ns / 1e9)


@pytest.mark.parametrize("seed", [0, 1000, 2000])
@pytest.mark.parametrize("limit_ms", [5, 10, 30])
def test_mm1_agrees_with_the_closed_form(limit_ms: int, seed: int) -> None:
    sla = SLA(95.0, limit_ms * 1_000_000)
    found = qps_at_sla(mm1(), sla, SearchConfig(seed=seed, runs=24), origin="simulated")
    assert found.low_qps == pytest.approx(closed_form(sla), rel=0.04)
    assert found.low_qps < found.high_qps <= 1.02 * found.low_qps
    assert found.origin == "simulated"


@pytest.mark.parametrize("sla", [SLA(95.0, 10_000_000), SLA(99.0, 20_000_000)])
def test_a_rate_at_the_limit_is_rarely_called_good_or_bad(sla: SLA) -> None:
    """The stated confidence holds although queueing makes neighbours slow together."""
    wrong = 0
    for seed in range(0, 20_000, 200):
        rate = closed_form(sla)
        config = SearchConfig(start_qps=rate, max_qps=rate, probes=1, seed=seed, confidence=0.9)
        wrong += qps_at_sla(mm1(), sla, config).probes[0].outcome == "pass"
    assert wrong <= 15  # 10 expected at most; P(more than 15) = 4%, and it is usually about 6


def step(limit_qps: float, queries: int = 2000) -> Measure:
    def measure(rate_qps: float, seed: int) -> np.ndarray:
        return np.full(queries, 1e6 if rate_qps <= limit_qps else 1e9)

    return measure


SLA95 = SLA(95.0, 10_000_000)


@pytest.mark.parametrize("limit_qps", [3.0, 99.0, 100.0, 101.0, 777.0, 40_000.0])
def test_the_bracket_encloses_a_step(limit_qps: float) -> None:
    found = qps_at_sla(step(limit_qps), SLA95, SearchConfig(tolerance=0.01))
    assert found.low_qps <= limit_qps < found.high_qps <= 1.01 * found.low_qps
    assert found.high_outcome == "fail"
    assert [p.runs for p in found.probes] == [1] * len(found.probes)


def test_the_ends_of_the_range() -> None:
    above = qps_at_sla(step(1e9), SLA95, SearchConfig(max_qps=1000.0))
    assert (above.low_qps, above.high_qps, above.high_outcome) == (1000.0, math.inf, None)
    assert above.to_record()["high_qps"] is None
    below = qps_at_sla(step(0.0), SLA95, SearchConfig(min_qps=10.0))
    assert (below.low_qps, below.high_qps) == (0.0, 10.0)
    assert len(qps_at_sla(step(777.0), SLA95, SearchConfig(probes=2)).probes) == 2


def test_probes_share_their_seeds_and_stop_when_decided() -> None:
    asked: list[tuple[float, int]] = []
    few = step(150.0, queries=40)

    def measure(rate_qps: float, seed: int) -> np.ndarray:
        asked.append((rate_qps, seed))
        return np.asarray(few(rate_qps, seed))

    seen: list[Probe] = []
    found = qps_at_sla(measure, SLA95, SearchConfig(seed=5), watch=seen.append)
    assert tuple(seen) == found.probes
    for probe in found.probes:
        seeds = [seed for rate, seed in asked if rate == probe.rate_qps]
        assert seeds == list(range(5, 5 + probe.runs))
    # No query over the limit: 40 and 80 are too few for p95, 120 prove it at 1 - 0.05 / 8.
    assert found.probes[0].runs == 3 and found.probes[0].outcome == "pass"
    assert next(p for p in found.probes if p.outcome == "fail").runs == 1


def test_what_stays_undecided_does_not_pass() -> None:
    def on_the_limit(rate_qps: float, seed: int) -> np.ndarray:
        over = np.arange(1000) % 20 == 0
        return np.where(over, 1e9, 1e6)

    found = qps_at_sla(on_the_limit, SLA95, SearchConfig(min_qps=50.0))
    assert found.low_qps == 0.0
    assert {p.outcome for p in found.probes} == {"undecided"}
    assert all(p.runs == 8 for p in found.probes)


def test_a_probe_ends_when_no_further_run_could_let_it_pass() -> None:
    def a_little_over(rate_qps: float, seed: int) -> np.ndarray:
        return np.where(np.arange(1000) % 19 == 0, 1e9, 1e6)  # 5.3%: never decided

    (probe,) = qps_at_sla(a_little_over, SLA95, SearchConfig(max_qps=100.0)).probes[:1]
    assert probe.outcome == "undecided"
    assert probe.runs < 8


def test_a_good_prediction_saves_probes() -> None:
    def probes(**change: float) -> int:
        return len(qps_at_sla(step(777.0), SLA95, SearchConfig(**change)).probes)

    assert probes(start_qps=750.0, factor=1.1) <= 5 < probes(start_qps=100.0)


def test_a_lucky_search_is_found_out_by_fresh_numbers() -> None:
    def lucky(rate_qps: float, seed: int) -> np.ndarray:
        return np.full(2000, 1e6 if rate_qps <= (500.0 if seed < 1000 else 300.0) else 1e9)

    config = SearchConfig()
    found = qps_at_sla(lucky, SLA95, config)
    again = search_again(found, config)
    while (rate_qps := again.next_rate()) is not None:
        again.tell(probe_rate(lucky, rate_qps, SLA95, again.config))
    assert found.low_qps > 490
    assert again.found(SLA95).low_qps <= 300 < again.found(SLA95).high_qps


def loaded(late_ns: Callable[[float, int], int]) -> Callable[[float, int], LoadResult]:
    """Runs answered within 1 ms, by a generator that is this late."""

    def measure(rate_qps: float, seed: int) -> LoadResult:
        n = 1000
        scheduled = np.arange(n, dtype=np.int64) * 1_000_000
        late = late_ns(rate_qps, seed)
        rows, status = np.ones(n, np.int64), np.zeros(n, np.uint8)
        return LoadResult(scheduled, scheduled + late, scheduled + late + 1000, rows, status)

    return measure


def test_a_late_generator_bounds_the_answer_and_says_so() -> None:
    found = qps_at_sla(loaded(lambda qps, seed: 10_000_000 if qps > 500 else 0), SLA95)
    assert 490 <= found.low_qps <= 500
    assert found.high_outcome == "invalid"
    bad = [p for p in found.probes if p.outcome == "invalid"]
    assert bad and all("lateness" in p.reason for p in bad)


def test_one_late_run_is_left_out() -> None:
    config = SearchConfig(max_qps=400.0)
    found = qps_at_sla(loaded(lambda qps, seed: 10_000_000 if seed == 0 else 0), SLA95, config)
    assert found.low_qps == 400.0
    assert {p.runs for p in found.probes} == {1}


def test_refused_queries_count_as_over_the_limit() -> None:
    def shedding(rate_qps: float, seed: int) -> np.ndarray:
        served = np.arange(2000) % 100 < 100 * min(300.0 / rate_qps, 1.0)
        return np.where(served, 1e6, np.inf)

    found = qps_at_sla(shedding, SLA95)
    assert found.low_qps == pytest.approx(300.0 / 0.95, rel=0.06)


class OneServer:
    """A queue with one server, in virtual time."""

    def __init__(self, clock: FakeClock, service_ns: np.ndarray) -> None:
        self.clock, self.service_ns, self.free_ns = clock, service_ns.tolist(), 0

    def issue(self, query: Query, done: Callable[[Completion], None]) -> None:
        self.free_ns = max(self.free_ns, self.clock.now_ns()) + self.service_ns[query.id]
        done(Completion(query.id, "ok", self.free_ns))

    def close(self) -> None:
        pass


def test_the_driver_in_virtual_time_finds_the_closed_form_too() -> None:
    queries = traffic.make_queries(empty_query, np.ones(10_000, np.int64), per_size=1)

    def measure(rate_qps: float, seed: int) -> LoadResult:
        plan = traffic.make_traffic(rate_qps, 10_000, seed=seed, distribution=sizes.Fixed(1))
        service = np.random.default_rng(seed + 10**6).standard_exponential(10_000) / MU * 1e9
        clock = FakeClock()
        return drive(
            OneServer(clock, service.astype(np.int64)),
            queries,
            plan.scheduled_ns,
            config=DriverConfig(warmup=500),
            clock=clock,
            origin="simulated",
        )

    sla = SLA(95.0, 10_000_000)
    config = SearchConfig(start_qps=640.0, runs=8, tolerance=0.06)
    found = qps_at_sla(measure, sla, config, origin="simulated")
    assert found.low_qps == pytest.approx(closed_form(sla), rel=0.08)


def test_what_was_found_goes_into_a_result_file() -> None:
    found: Found = qps_at_sla(step(777.0), SLA95)
    record = results._encode(found.to_record(), "here")
    assert '"sla":"p95<=10ms"' in record and '"outcome":"fail"' in record


@pytest.mark.parametrize(
    "change",
    [{"start_qps": 0.0}, {"max_qps": 1.0}, {"tolerance": 0.0}, {"confidence": 1.0}, {"runs": 0}],
)
def test_bad_options_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"expected .*{next(iter(change))}"):
        SearchConfig(**change)  # type: ignore[arg-type]


def test_a_run_without_queries_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected queries"):
        qps_at_sla(step(1.0, queries=0), SLA95)
