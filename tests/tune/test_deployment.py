from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import recstack as rs
from recstack.engine import HybridEngine, OpaqueWarning
from recstack.errors import ConfigError
from recstack.schedule import ScheduleConfig
from recstack.tune import Deployment, engine_costs, read_deployment, start
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
