"""Policies compared in turns, on a machine that is not as its costs say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recstack.cli.policies import simulated_setting
from recstack.loadtest import SLA, LoadResult, Traffic
from recstack.loadtest.search import FRESH
from recstack.loadtest.sizes import Fixed, Production
from recstack.schedule import Costs, ScheduleConfig
from recstack.tune.climb import climb_live
from recstack.tune.policies import compare
from recstack.tune.setting import Setting
from recstack.tune.turns import median_probe, search_twice

ROWS = [2**k for k in range(11)]
LIMIT = SLA(95.0, 3_000_000)


def costs(each_us: float, power: float) -> Costs:
    return Costs(busy=(1,), service_us=(tuple(each_us + rows**power for rows in ROWS),))


def live(actual: Costs, predicted: Costs, seed: int = 0, noise: float = 0.0) -> Setting:
    """Two lanes whose costs are not as predicted; `noise`: a run is slower or faster by so much."""
    twin = simulated_setting(predicted, 2, Fixed(1000), seed=seed)
    twin = replace(twin, least=1000, most=1000, tolerance=0.05, climb_from=4)
    rng = np.random.default_rng(seed)

    def run(schedule: ScheduleConfig, traffic: Traffic, deadline_ns: int | None) -> LoadResult:
        factor = float(np.exp(noise * rng.standard_normal()))
        service = tuple(tuple(factor * us for us in row) for row in actual.service_us)
        slower = schedule.model_copy(update={"costs": Costs(busy=(1,), service_us=service)})
        return twin.run(slower, traffic, deadline_ns)

    return replace(twin, run=run, expected=twin, runs=3)


def test_deeprecsched_stays_at_statics_chunk_where_its_own_turns_out_slower() -> None:
    setting = live(actual=costs(20.0, 1.0), predicted=costs(0.0, 1.2))
    static, climbed = (r[0] for r in compare(setting, ("static", "deeprecsched"), LIMIT))
    assert static["chunk_rows"] == climbed["chunk_rows"] == 500
    assert climbed["low_qps"] == static["low_qps"] > 0
    first = climbed["climb"][0]
    assert first["from_rows"] == 500 and first["to_rows"] < 500
    assert first["tail_ratio"] < 1 and not any(step["taken"] for step in climbed["climb"])


def test_a_live_climb_leaves_a_prediction_that_is_wrong() -> None:
    """The twin says that cutting is free: the lanes, that a chunk costs a lot."""
    setting = live(actual=costs(400.0, 1.0), predicted=costs(0.0, 1.0))
    static, climbed = (r[0] for r in compare(setting, ("static", "deeprecsched"), LIMIT))
    assert climbed["chunk_rows"] == 1000
    assert climbed["low_qps"] > 1.1 * static["low_qps"]
    taken = [step for step in climbed["climb"] if step["taken"]]
    assert [step["to_rows"] for step in taken] == [1000]


def test_what_is_reported_was_not_seen_by_the_climb() -> None:
    """Fresh random numbers: the ratio to static may be anything, and may fall below one."""
    seeds: dict[str, set[int]] = {"climb": set(), "search": set()}
    plain = live(actual=costs(100.0, 1.0), predicted=costs(0.0, 1.2))
    ended = []

    class Watched(Setting):
        def run_at(self, schedule, qps, sla, seed):  # type: ignore[no-untyped-def]
            seeds["search" if self.seed >= FRESH else "climb"].add(seed)
            return super().run_at(schedule, qps, sla, seed)

    setting = Watched(**{f: getattr(plain, f) for f in plain.__dataclass_fields__})
    for made in compare(setting, ("static", "deeprecsched"), LIMIT):
        ended.append(made[0])
        assert made[0]["confidence"] == 0.5, "a median of runs has no more"
    assert seeds["climb"] and seeds["search"]
    assert not seeds["climb"] & seeds["search"]


def test_a_step_that_is_no_better_is_taken_no_more_often_than_stated() -> None:
    """Chunks of one cost on lanes with noise: most climbs stay."""
    taken = steps = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)

        def run(rows: int, qps: float, seed: int, rng: np.random.Generator = rng) -> LoadResult:
            ns = np.full(200, int(1e6 * np.exp(0.2 * rng.standard_normal())))
            zeros = np.zeros(200, np.int64)
            return LoadResult(
                scheduled_ns=zeros, issued_ns=zeros, finished_ns=ns, rows=zeros + 1,
                status=np.zeros(200, np.uint8),
            )  # fmt: skip

        climbed = climb_live(
            run, lambda rows, qps: 100.0, LIMIT, start=500, predicted=64, largest_rows=1000,
            guess_qps=100.0,
        )  # fmt: skip
        taken += sum(step.taken for step in climbed.steps)
        steps += len(climbed.steps)
    assert steps >= 180
    assert taken <= 0.05 * steps + 3 * np.sqrt(0.05 * steps)


def test_a_climb_with_noise_ends_near_the_best_chunk() -> None:
    """And costs little: five comparisons of seven pairs at the most."""
    chosen = []
    for seed in range(3):
        setting = live(costs(400.0, 1.0), costs(0.0, 1.0), seed, noise=0.03)
        chosen += [made[0] for made in compare(setting, ("deeprecsched",), LIMIT)]
    assert sum(made["chunk_rows"] == 1000 for made in chosen) >= 2
    assert all(sum(step["pairs"] for step in made["climb"]) <= 35 for made in chosen)


@pytest.mark.parametrize(("late_runs", "outcome"), [(1, "pass"), (2, "invalid")])
def test_a_late_generator_makes_a_probe_invalid(late_runs: int, outcome: str) -> None:
    plain = live(costs(100.0, 1.0), costs(100.0, 1.0))

    def run(schedule: ScheduleConfig, traffic: Traffic, deadline_ns: int | None) -> LoadResult:
        done = plain.run(schedule, traffic, deadline_ns)
        nonlocal left
        left -= 1
        if left < 0:
            return done
        late_ns = 10 * LIMIT.limit_ns
        return replace(
            done, issued_ns=done.issued_ns + late_ns, finished_ns=done.finished_ns + late_ns
        )

    left = late_runs
    setting = replace(plain, run=run)
    probe = median_probe(setting, setting.schedule("static", 500, LIMIT), 100.0, LIMIT)
    assert probe.outcome == outcome
    assert ("lateness" in probe.reason) == (outcome == "invalid")


def test_a_rate_that_rests_on_an_invalid_run_says_so() -> None:
    plain = live(costs(100.0, 1.0), costs(100.0, 1.0))

    def run(schedule: ScheduleConfig, traffic: Traffic, deadline_ns: int | None) -> LoadResult:
        return replace(plain.run(schedule, traffic, deadline_ns), strays=3)

    for made in compare(replace(plain, run=run), ("static",), LIMIT):
        assert made[0]["low_qps"] > 0
        assert "3 completions were repeated" in made[0]["reasons"][0]
        assert all("3 completions" in at["reasons"][0] for at in made[1:])


def test_two_more_searches_have_fresh_numbers_and_agree() -> None:
    setting = live(costs(100.0, 1.0), costs(100.0, 1.0))
    records = [made[0] for made in compare(setting, ("static", "slack"), LIMIT)]
    again = search_twice(setting, records, LIMIT)
    for record in records:
        first, second = again[record["policy"]]
        assert min(first, second) > 0
        assert max(first, second) / min(first, second) < 1.15
        assert first == pytest.approx(record["low_qps"], rel=0.15)


@pytest.mark.parametrize(("sizes", "largest"), [(Fixed(64), 64), (Production(), 1000)])
def test_static_cuts_the_largest_of_the_sizes_at_hand(sizes, largest: int) -> None:
    setting = simulated_setting(costs(10.0, 1.0), 2, sizes)
    setting = replace(setting, least=300, most=300, tolerance=0.2)
    ((record, *_),) = compare(setting, ("static",), SLA(95.0, 50_000_000))
    assert record["chunk_rows"] == largest // 2
