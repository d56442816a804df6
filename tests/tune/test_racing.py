from __future__ import annotations

import numpy as np
import pytest

from recstack.loadtest import sizes
from recstack.loadtest.search import Probe, SearchConfig
from recstack.loadtest.sla import SLA, parse
from recstack.schedule import ScheduleConfig
from recstack.tune import Axis, Candidate, Race, Space, Tuned, exhaustive, static_schedule
from recstack.tune.predict import CostModel
from tests.tune.queueing import Counted, curve

CORES, LARGEST = 2, 1000
CURVES = {
    "overhead": curve(lambda n: 300 + 2.0 * n),
    "linear": curve(lambda n: 5 + 4.0 * n),
    "cache cliff": curve(lambda n: 20 + (2.0 * n if n <= 128 else 5.0 * n)),
    "vectors": curve(lambda n: 60 + 8.0 * n**0.8),
}
SPACE = Space(
    (
        Axis("lanes", ({"lanes": 2, "threads_per_lane": 1}, {"lanes": 1, "threads_per_lane": 2})),
        Axis("chunk", tuple({"chunk_rows": n} for n in (16, 62, 125, 250, 500, 1000)), True),
        Axis(
            "merge",
            (
                {"merge_rows": 0, "merge_window_us": 0.0},
                {"merge_rows": 256, "merge_window_us": 0.0},
                {"merge_rows": 256, "merge_window_us": 2000.0},
            ),
            True,
        ),
    )
)
CONFIG = SearchConfig(tolerance=0.03, confidence=0.9, runs=3, min_qps=1.0, max_qps=1e5)


Curves = dict[str, dict[int, int]]


def race(curves: Curves, sla: SLA, space: Space = SPACE) -> tuple[Tuned, Counted]:
    counted = Counted(curves, sla, CONFIG)
    baseline = Candidate(static_schedule(CORES, LARGEST), next(iter(curves)))
    return Race(space, baseline, counted, guess(curves, sla), sla, CONFIG).run(), counted


def guess(curves: Curves, sla: SLA):
    model = CostModel(curves, sizes.Production().sample(1000, np.random.default_rng(0)))
    return lambda candidate: model.qps(candidate.schedule, candidate.plan, sla)


@pytest.mark.parametrize("name", CURVES)
def test_a_race_finds_the_exhaustive_best_at_a_quarter_of_its_price(name: str) -> None:
    sla, curves = parse("p95<=15ms"), {"": CURVES[name]}
    whole = Counted(curves, sla, CONFIG)
    trials = list(exhaustive(SPACE, whole, guess(curves, sla), sla, CONFIG))
    rates = {trial.candidate.key: trial.found.low_qps for trial in trials}
    found, counted = race(curves, sla)
    assert counted.probes <= whole.probes / 4
    assert rates[found.leader.candidate.key] >= 0.95 * max(rates.values())
    assert found.complete


def test_the_same_seed_gives_the_same_race() -> None:
    sla = parse("p95<=15ms")
    one, other = (race({"": CURVES["overhead"]}, sla)[0] for _ in range(2))
    assert one == other


def test_a_faster_plan_wins() -> None:
    slow, fast = CURVES["linear"], {n: t // 2 for n, t in CURVES["linear"].items()}
    plans = Axis("plan", ({"plan": "fp32"}, {"plan": "int8"}))
    found, _ = race({"fp32": slow, "int8": fast}, parse("p95<=15ms"), Space((*SPACE.axes, plans)))
    assert found.better
    assert found.best.candidate.plan == "int8"
    assert found.baseline.candidate.plan == "fp32"


def test_luck_does_not_win() -> None:
    """Every candidate is the same; whoever leads was lucky, and the check says so."""
    rate = {"true": 100.0}

    def lucky(candidate: Candidate, rate_qps: float, seed: int) -> Probe:
        luck = 1.3 if candidate.schedule.chunk_rows == 125 and seed == 0 else 1.0
        passed = rate_qps <= rate["true"] * luck
        return Probe(rate_qps, "pass" if passed else "fail", 0 if passed else 99, 100, 1, 1.0)

    baseline = Candidate(static_schedule(CORES, LARGEST))
    found = Race(SPACE, baseline, lucky, lambda c: 90.0, parse("p95<=15ms"), CONFIG).run()
    assert found.leader.schedule.chunk_rows == 125
    assert found.checked and not found.better
    assert found.best is found.baseline
    assert 97 <= found.leader.found.low_qps <= 100


def test_without_time_the_baseline_stays() -> None:
    left = iter([True] * 10)
    counted = Counted({"": CURVES["overhead"]}, parse("p95<=15ms"), CONFIG)
    baseline = Candidate(static_schedule(CORES, LARGEST))
    found = Race(
        SPACE, baseline, counted, lambda c: 100.0, parse("p95<=15ms"), CONFIG,
        racing=lambda: False, checking=lambda: next(left, False),
    ).run()  # fmt: skip
    assert not found.complete and not found.better
    assert found.best.candidate == baseline


@pytest.mark.parametrize("checks", range(3))
def test_a_check_without_time_leaves_what_was_raced(checks: int) -> None:
    """Time ends before the check has a rate of both: the race's rates stand."""
    fresh: list[int] = []

    def probe(candidate: Candidate, rate_qps: float, seed: int) -> Probe:
        fresh.extend([seed] if seed else [])
        limit = 100.0 if candidate.schedule.chunk_rows == 125 else 80.0
        # With fresh random numbers the first probe of each fails.
        passed = rate_qps <= limit * (0.9 if seed else 1.0)
        return Probe(rate_qps, "pass" if passed else "fail", 0, 100, 1, 1.0)

    baseline, sla = Candidate(static_schedule(CORES, LARGEST)), parse("p95<=15ms")
    whole = Race(SPACE, baseline, probe, lambda c: 90.0, sla, CONFIG).run()
    searched = len(whole.trials[0].found.probes)
    fresh.clear()
    left = iter([True] * (searched + checks))
    found = Race(
        SPACE, baseline, probe, lambda c: 90.0, sla, CONFIG, checking=lambda: next(left, False)
    ).run()
    assert len(fresh) == checks
    assert not found.checked and not found.better and not found.complete
    assert found.baseline is found.trials[0]
    assert 75 < found.best.found.low_qps <= 80


@pytest.mark.parametrize(("outcome", "better"), [("undecided", True), ("invalid", False)])
def test_a_baseline_is_beaten_at_the_rate_of_the_leader(outcome: str, better: bool) -> None:
    asked: list[float] = []

    def probe(candidate: Candidate, rate_qps: float, seed: int) -> Probe:
        leads = candidate.schedule.chunk_rows == 125
        asked.extend([rate_qps] if candidate == baseline else [])
        above = "fail" if leads or not seed else outcome
        passed = rate_qps <= (120.0 if leads else 100.0)
        return Probe(rate_qps, "pass" if passed else above, 0, 100, 1, 1.0)  # type: ignore[arg-type]

    baseline = Candidate(static_schedule(CORES, LARGEST))
    found = Race(SPACE, baseline, probe, lambda c: 90.0, parse("p95<=15ms"), CONFIG).run()
    assert found.checked and found.leader.found.low_qps > found.baseline.found.high_qps
    assert found.better is better
    assert asked[-1] == found.leader.found.low_qps


def test_an_undecided_probe_is_asked_again_where_the_leader_passes() -> None:
    def probe(candidate: Candidate, rate_qps: float, seed: int) -> Probe:
        limit = 120.0 if candidate.schedule.chunk_rows == 125 else 100.0
        above = "undecided" if seed and rate_qps < 1.12 * limit else "fail"
        return Probe(rate_qps, "pass" if rate_qps <= limit else above, 0, 100, 1, 1.0)  # type: ignore[arg-type]

    baseline = Candidate(static_schedule(CORES, LARGEST))
    found = Race(SPACE, baseline, probe, lambda c: 90.0, parse("p95<=15ms"), CONFIG).run()
    assert found.better
    assert found.baseline.found.high_outcome == "undecided"
    assert found.baseline.found.probes[-1].outcome == "fail"


def test_a_baseline_that_passes_at_the_rate_of_the_leader_has_that_rate() -> None:
    def probe(candidate: Candidate, rate_qps: float, seed: int) -> Probe:
        leads = candidate.schedule.chunk_rows == 125
        doubtful = seed and not leads and 80.0 < rate_qps < 100.0
        above = "fail" if rate_qps > (120.0 if leads or seed else 100.0) else "pass"
        return Probe(rate_qps, "undecided" if doubtful else above, 0, 100, 1, 1.0)  # type: ignore[arg-type]

    baseline = Candidate(static_schedule(CORES, LARGEST))
    found = Race(SPACE, baseline, probe, lambda c: 90.0, parse("p95<=15ms"), CONFIG).run()
    assert found.checked and not found.better
    assert found.baseline.found.low_qps == found.leader.found.low_qps > 100.0
    assert found.baseline.found.high_qps == float("inf")


def test_a_prediction_knows_what_is_hopeless() -> None:
    predict = guess({"": CURVES["linear"]}, parse("p95<=1ms"))
    assert predict(Candidate(ScheduleConfig(lanes=2, chunk_rows=1000, merge_rows=0))) == 0.0
    easy = guess({"": CURVES["linear"]}, parse("p95<=1s"))
    one, two = (
        easy(Candidate(ScheduleConfig(lanes=n, chunk_rows=250, merge_rows=0))) for n in (1, 2)
    )
    assert two == pytest.approx(2 * one, rel=0.02)
