from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import recstack as rs
from recstack.errors import ConfigError
from recstack.loadtest import SLA, sizes
from recstack.loadtest.search import Probe
from recstack.schedule import AcceleratorConfig, Costs
from recstack.tune import (
    Axis,
    QueryPool,
    RunConfig,
    Space,
    TuneConfig,
    Tuned,
    random_queries,
    schedule_space,
    static_schedule,
    tune,
)
from recstack.tune.predict import CostModel
from recstack.tune.tuning import SEARCH
from recstack.types import Query


def test_a_space_shares_the_cores_in_every_way() -> None:
    space = schedule_space(4, 1000)
    made = [space.candidate(place) for place in space.places()]
    shapes = {(c.schedule.lanes, c.schedule.threads_per_lane) for c in made}
    assert shapes == {(4, 1), (2, 2), (1, 4)}
    assert len({c.key for c in made}) == len(space.candidates()) == len(made)
    assert all(8 <= c.schedule.chunk_rows <= 1000 for c in made)


def test_a_policy_without_chunks_is_one_candidate() -> None:
    slack = {"costs": Costs(busy=(1,), service_us=((10.0, 1000.0),)), "target_ms": 5.0}
    made = schedule_space(2, 1000, slack={"": slack}).candidates()
    assert len(made) == 72 + 1
    assert [c.schedule.lanes for c in made if c.schedule.policy == "slack"] == [2]


def test_an_accelerator_is_an_axis_of_thresholds() -> None:
    costs = Costs(busy=(1,), service_us=((10.0, 1000.0),))
    device = AcceleratorConfig(device="cpu", costs=costs)
    slack = {"costs": costs, "target_ms": 5.0}
    made = schedule_space(2, 1000, slack={"": slack}, accelerator=device).candidates()
    thresholds = {
        c.schedule.accelerator.threshold_rows if c.schedule.accelerator else None for c in made
    }
    assert thresholds == {None, *(1 << k for k in range(10))}
    ours = [c.schedule.accelerator for c in made if c.schedule.policy == "slack"]
    assert ours in ([None, device], [device, None])


def test_a_guess_counts_the_slower_of_cores_and_accelerator() -> None:
    sla = SLA(95.0, 10_000_000)
    rows = np.array([10] * 90 + [1000] * 10)
    model = CostModel({"": {1: 10_000.0, 1000: 10_000_000.0}}, rows)
    costs = Costs(busy=(1,), service_us=(tuple(100.0 for _ in range(11)),))
    cores = static_schedule(2, 1000)

    def guess(threshold: int) -> float:
        device = AcceleratorConfig(costs=costs, threshold_rows=threshold)
        return model.qps(cores.model_copy(update={"accelerator": device}), "", sla)

    assert guess(2000) == model.qps(cores, "", sla)
    assert guess(500) > 5 * guess(2000)
    assert 0 < guess(1) < 10_000 < guess(500)


def test_a_device_beside_the_cores_is_measured_and_tried(tmp_path: Path) -> None:
    device = AcceleratorConfig(device="cpu", largest_rows=64)
    tuned(accelerator=device, journal=tmp_path / "j.jsonl")
    (note,) = (
        line for line in map(json.loads, (tmp_path / "j.jsonl").read_text().splitlines())
        if line.get("question") == "device"
    )  # fmt: skip
    measured = AcceleratorConfig.model_validate(note["answer"])
    assert measured.costs is not None and measured.costs.origin == "measured"
    assert measured.model_copy(update={"costs": None}) == device
    devices = ({"accelerator": measured, "plan": "one"}, {"accelerator": None, "plan": "one"})
    choice = Axis("accelerator", devices)
    found, _ = tuned(budget_s=60.0, space=Space((choice,), static_schedule(2, 1000)))
    assert {t.schedule.accelerator for t in found.trials} == {measured, None}


def test_a_pool_makes_few_queries_of_a_size() -> None:
    made = []

    def factory(index: int, rows: int) -> Query:
        made.append((index, rows))
        return Query(index, rs.Batch(*[None] * 5))  # type: ignore[arg-type]

    pool = QueryPool(factory, per_size=2)
    for index in range(10):
        pool(index, 3)
    assert len(made) == pool.different == 2


def test_queries_differ_until_they_no_longer_fit_a_cache() -> None:
    model = rs.zoo.build("rm1", rows_scale=0.0001)
    pool = random_queries(model, seed=0)
    queries = [pool(index, 28) for index in range(500)]
    assert len({id(query) for query in queries}) == pool.different == 500
    small = QueryPool(pool, most_bytes=1_000_000)
    one = sum(x.nbytes for x in (queries[0].batch.values, queries[0].batch.lengths))
    kept = [small(index, 28) for index in range(100)]
    assert 1_000_000 // one - 1 <= small.different <= 1_000_000 // one + 1
    assert [small(index, 28) for index in range(100)] == kept
    assert small(3, 5).batch.rows == 5 and small(4, 5) is small(3, 5)


def tuned(
    accelerator: AcceleratorConfig | None = None, budget_s: float = 1.5, **change: object
) -> tuple[Tuned, list[Probe]]:
    model = rs.zoo.build("ncf", rows_scale=0.001)
    engine = rs.compile(model)
    probes: list[Probe] = []
    config = TuneConfig(
        run=RunConfig(run_s=0.2, min_queries=400, max_queries=400), budget_s=budget_s,
        search=replace(SEARCH, tolerance=0.5, runs=1, max_qps=2000.0), accelerator=accelerator,
        costs_s=0.1,
    )  # fmt: skip
    found = tune(
        {"one": engine, "other": engine},
        lambda index, rows: Query(index, rs.data.random_batch(model, rows, seed=index)),
        sizes.Fixed(16),
        SLA(95.0, 400_000_000),
        config,
        watch=lambda candidate, probe: probes.append(probe),
        **change,  # type: ignore[arg-type]
    )
    return found, probes


def test_a_live_engine_is_tuned() -> None:
    found, probes = tuned()
    assert probes
    assert found.trials[0].candidate == found.baseline.candidate
    assert found.best.found.low_qps > 0
    assert found.baseline.schedule.merge_rows == 0
    assert {t.candidate.plan for t in found.trials} <= {"one", "other"}


def test_a_journal_answers_for_what_it_knows(tmp_path: Path) -> None:
    plans = Space((Axis("plan", ({"plan": "one"}, {"plan": "other"})),), static_schedule(2, 1000))
    first, _ = tuned(budget_s=60.0, space=plans, journal=tmp_path / "j.jsonl")
    lines = len((tmp_path / "j.jsonl").read_text().splitlines())
    assert lines >= 3
    again, _ = tuned(budget_s=60.0, space=plans, journal=tmp_path / "j.jsonl")
    assert again.trials[0] == first.trials[0]


def test_a_journal_answers_for_its_own_engines_only(tmp_path: Path) -> None:
    """One journal, one plan without a name: another instruction set, precision or shape differs."""
    small, large = (rs.zoo.build("ncf", rows_scale=scale) for scale in (0.001, 0.002))
    configs = [
        (small, rs.EngineConfig(isa="scalar")),
        (small, rs.EngineConfig(isa="avx2")),
        (small, rs.EngineConfig(isa="avx2", precision="bf16")),
        (large, rs.EngineConfig(isa="avx2")),
    ]
    for i, (model, config) in enumerate(configs):
        path = tmp_path / f"{i}.jsonl"
        quick(rs.compile(model, config), path)
        for k, (other, changed) in enumerate(configs):
            if k == i:
                quick(rs.compile(other, changed), path)
                continue
            with pytest.raises(ConfigError, match="journal of this search"):
                quick(rs.compile(other, changed), path)


def test_a_journal_is_of_so_many_cores_and_such_queries(tmp_path: Path) -> None:
    engine = rs.compile(rs.zoo.build("ncf", rows_scale=0.001))
    quick(engine, tmp_path / "j.jsonl", cores=1)
    with pytest.raises(ConfigError, match="cores = 1 instead of 2"):
        quick(engine, tmp_path / "j.jsonl", cores=2)
    with pytest.raises(ConfigError, match="zipf"):
        quick(engine, tmp_path / "j.jsonl", cores=1, indices="zipf:1.05")


def quick(
    engine: rs.Engine, path: Path, cores: int = 1, indices: str = "uniform", **change: object
) -> Tuned:
    """As soon as it has begun, the budget is spent."""
    config = TuneConfig(cores=cores, budget_s=1e-9, **change)  # type: ignore[arg-type]
    factory = random_queries(engine.model, 0, indices)
    return tune(engine, factory, sizes.Fixed(16), SLA(95.0, 10**8), config, journal=path)


def test_a_spent_budget_measures_no_costs(tmp_path: Path) -> None:
    engine = rs.compile(rs.zoo.build("ncf", rows_scale=0.001))
    began = time.monotonic()
    found = quick(engine, tmp_path / "j.jsonl", slack=True, costs_s=60.0)
    assert time.monotonic() - began < 10.0
    assert not found.complete and not found.trials[0].found.probes
    (curves,) = (
        line["answer"] for line in map(json.loads, (tmp_path / "j.jsonl").read_text().splitlines())
        if "question" in line
    )  # fmt: skip
    assert list(curves[""]) == ["1"]


@pytest.mark.parametrize(("mix", "chunk"), [(sizes.Fixed(64), 32), (sizes.MLPerf(), 350)])
def test_the_baseline_cuts_the_largest_of_its_own_sizes(mix: sizes.Sizes, chunk: int) -> None:
    engine = rs.compile(rs.zoo.build("ncf", rows_scale=0.001))
    factory = random_queries(engine.model, 0)
    config = TuneConfig(cores=2, budget_s=1e-9)
    found = tune(engine, factory, mix, SLA(95.0, 10**8), config)
    assert found.baseline.schedule.chunk_rows == chunk
