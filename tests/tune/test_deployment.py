from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import recstack as rs
from recstack.engine import DeviceConfig, HybridEngine, OpaqueWarning
from recstack.errors import ConfigError
from recstack.loadtest import drive
from recstack.model.digest import model_digest
from recstack.schedule import AcceleratorConfig, Costs, ScheduleConfig
from recstack.tune import Deployment, engine_costs, executor_costs, read_deployment, start
from recstack.tune.deployment import read_reference
from recstack.types import Completion, Query


def test_a_deployment_reads_as_it_was_written(tmp_path: Path) -> None:
    rs.zoo.build("ncf", rows_scale=0.001).save(tmp_path / "m")
    deployment = Deployment(
        model="m",
        engine=rs.EngineConfig(threads=2),
        schedule=ScheduleConfig(lanes=2),
        sla="p95<=1ms",
    )
    deployment.save(tmp_path / "plan.toml")
    read, model = read_deployment(tmp_path / "plan.toml")
    assert read == deployment
    assert model.name == "ncf"


def test_a_deployment_carries_costs_and_slack_gives_the_engines_scores(tmp_path: Path) -> None:
    model = rs.zoo.build("ncf", rows_scale=0.001)
    model.save(tmp_path / "m")
    engine = rs.compile(model)
    costs = engine_costs(engine, lanes=2, largest_rows=64, seconds=0.1)
    schedule = ScheduleConfig(
        lanes=2, cores=(), policy="slack", target_ms=60_000.0, shed="latest", costs=costs
    )
    deployment = Deployment(model="m", schedule=schedule)
    deployment.save(tmp_path / "plan.toml")
    assert read_deployment(tmp_path / "plan.toml")[0] == deployment
    batches = [rs.data.random_batch(model, rows, seed=rows) for rows in (1, 3, 200, 7, 40, 500)]
    for done, batch in zip(answers(model, engine, batches, schedule), batches, strict=True):
        assert done.status == "ok"
        np.testing.assert_array_equal(done.scores, engine.run(batch))


AT_ONCE = np.zeros(7, np.int64)
TRIAL = AcceleratorConfig(device="cpu", lanes=2, threshold_rows=30, largest_rows=64)


@pytest.mark.parametrize("policy", ["fixed", "slack"])
def test_lanes_on_cores_and_on_a_device_give_one_models_scores(policy, tmp_path: Path) -> None:
    model = rs.zoo.build("rm1", rows_scale=0.0005, user_scope_tables=2)
    model.save(tmp_path / "m")
    engine = rs.compile(model)
    slow = Costs(busy=(1,), service_us=((100.0, 200.0, 400.0, 800.0, 1600.0, 3200.0, 6400.0),))
    fast = Costs(busy=(1,), service_us=((200.0, 210.0, 220.0, 230.0, 240.0, 250.0, 260.0),))
    schedule = ScheduleConfig(
        lanes=1, cores=(), chunk_rows=16, merge_rows=20, policy=policy, costs=slow,
        target_ms=60_000.0, accelerator=TRIAL.model_copy(update={"costs": fast}),
    )  # fmt: skip
    deployment = Deployment(model="m", schedule=schedule)
    deployment.save(tmp_path / "plan.toml")
    assert read_deployment(tmp_path / "plan.toml")[0] == deployment
    batches = [rs.data.random_batch(model, rows, seed=rows) for rows in (1, 30, 100, 29, 64, 3, 31)]
    with start(engine, schedule) as dispatcher:
        dispatcher.begin_trace(10_000)
        run = drive(dispatcher, [Query(i, b) for i, b in enumerate(batches)], AT_ONCE)
        assert (run.status == 0).all()
        chunks = dispatcher.traced()
    if policy == "fixed":
        whole = {(query, 0, batches[query].rows) for query in (1, 2, 4, 6)}
        assert {(q, b, e) for q, lane, _, _, b, e in chunks.tolist() if lane > 0} == whole
    else:
        assert set(chunks[:, 1].tolist()) > {0}
    for done, batch in zip(answers(model, engine, batches, schedule), batches, strict=True):
        assert done.status == "ok"
        np.testing.assert_allclose(done.scores, engine.run(batch), rtol=1e-4, atol=1e-5)


def test_a_bad_query_on_a_device_fails_alone_and_says_why() -> None:
    model = rs.zoo.build("ncf", rows_scale=0.001)
    engine = rs.compile(model)
    good = rs.data.random_batch(model, 40, seed=1)
    values = good.values.copy()
    values[7] = -5
    schedule = ScheduleConfig(cores=(), accelerator=TRIAL)
    bad, fine = answers(model, engine, [good.replace(values=values), good], schedule)
    assert bad.status == "error" and "got -5 - at `feature" in bad.error
    assert fine.status == "ok"


def test_accelerators_are_asked_for_where_the_schedule_names_them() -> None:
    engine = rs.compile(rs.zoo.build("ncf", rows_scale=0.001))
    with pytest.raises(ConfigError, match="expected executors of 2 accelerator lanes, got 0"):
        start(engine, ScheduleConfig(accelerator=TRIAL), accelerators=())
    absent = TRIAL.model_copy(update={"device": "cuda:99"})
    with pytest.raises(ConfigError, match="expected a GPU for device 'cuda:99'"):
        start(engine, ScheduleConfig(accelerator=absent))


def test_whole_queries_cost_more_with_more_rows() -> None:
    model = rs.zoo.build("ncf", rows_scale=0.001)
    executor = rs.compile(model, DeviceConfig(device="cpu", largest_rows=256))
    costs = executor_costs(executor, model, largest_rows=256, seconds=0.2, what="ncf")
    assert costs.largest_rows == 256 and costs.origin == "measured" and costs.what == "ncf"
    assert costs.service_us[0][-1] >= costs.service_us[0][0] > 0
    assert len(costs.spread) >= 2 and costs.spread[0] <= 1 <= costs.spread[-1]


def test_a_reference_is_the_model_that_the_deployment_was_made_of(tmp_path: Path) -> None:
    first, second = (rs.zoo.build("ncf", seed=seed, rows_scale=0.001) for seed in (0, 1))
    first.save(tmp_path / "fp32")
    path = tmp_path / "plan.toml"
    made = Deployment(model="fp32", reference="fp32", reference_digest=model_digest(first))
    made.save(path)
    assert read_reference(path, read_deployment(path)[0]).name == "ncf"
    second.save(tmp_path / "fp32")
    with pytest.raises(ConfigError, match=r"another \(.*fp32: quantise anew.*toml: reference"):
        read_reference(path, made)
    assert read_reference(path, Deployment(model="fp32", reference="fp32")).name == "ncf"
    with pytest.raises(ConfigError, match="expected the folder of the fp32 model"):
        read_reference(path, Deployment(model="fp32"))


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot write"):
        Deployment(model="m").save(tmp_path / "none" / "plan.toml")


SMALL_CHUNKS = ScheduleConfig(lanes=2, cores=(), chunk_rows=7, merge_rows=20)


def answers(
    model: rs.Model,
    engine: object,
    batches: list[rs.Batch],
    schedule: ScheduleConfig = SMALL_CHUNKS,
) -> list[Completion]:
    done: list[Completion] = []
    dispatcher = start(engine, schedule)
    for i, batch in enumerate(batches):
        dispatcher.issue(Query(i, batch), done.append)
    dispatcher.close()
    return sorted(done, key=lambda c: c.id)


def test_lanes_give_the_engines_scores() -> None:
    model = rs.zoo.build("din", rows_scale=0.0005)
    engine = rs.compile(model)
    batches = [rs.data.random_batch(model, rows, seed=rows) for rows in (1, 3, 50, 8, 2)]
    for completion, batch in zip(answers(model, engine, batches), batches, strict=True):
        assert completion.status == "ok"
        assert np.array_equal(completion.scores, engine.run(batch))


def test_a_bad_query_fails_alone_and_says_why() -> None:
    model = rs.zoo.build("ncf", rows_scale=0.001)
    engine = rs.compile(model)
    batches = [rs.data.random_batch(model, 5, seed=s) for s in range(4)]
    values = batches[2].values.copy()
    values[-1] = 1 << 30
    batches[2] = batches[2].replace(values=values)
    done = answers(model, engine, batches)
    assert [c.status for c in done] == ["ok", "ok", "error", "ok"]
    assert "expected an index in" in done[2].error


def test_a_model_with_opaque_ops_runs_on_lanes_too() -> None:
    torch = pytest.importorskip("torch")

    class Sorted(torch.nn.Module):
        def forward(self, x):
            return torch.sort(x, dim=1).values * 2

    model = rs.from_torch(Sorted(), (torch.randn(3, 4),))
    with pytest.warns(OpaqueWarning, match="sort"):
        engine = rs.compile(model)
    assert isinstance(engine, HybridEngine)
    batch = rs.data.random_batch(model, 20, seed=0)
    (done,) = answers(model, engine, [batch])
    np.testing.assert_allclose(done.scores, 2 * np.sort(batch.dense, axis=1), rtol=1e-6)
