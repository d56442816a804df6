"""Hostile models and batches end in an error of recstack's own, never in an effect or a crash."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import recstack as rs
from recstack.errors import (
    BatchError,
    ConfigError,
    IndexOutOfRange,
    ModelError,
    NonFinite,
    RecstackError,
)
from tests.engine.draft import Draft, make_batch

pytestmark = pytest.mark.filterwarnings("ignore::recstack.engine.OpaqueWarning")


def opaque(target: str, arguments: list[Any], **fields: Any) -> rs.Model:
    d = Draft()
    x = d.dense(4)
    return d.model(
        d.op("opaque", x, target=target, arguments=arguments, entry_shape=(4,), **fields)
    )


def test_a_model_cannot_open_files(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    path = tmp_path / "made"
    model = opaque("aten.from_file.default", [str(path), True], keywords={"size": 4})
    with pytest.raises(ModelError, match="reads files"):
        rs.compile(model)
    with pytest.raises(ModelError, match="reads files"):
        rs.reference(model, make_batch(model))
    assert not path.exists()


@pytest.mark.parametrize("target", ["aten.add_.Tensor", "aten.resize_.default", "aten.no.default"])
def test_a_model_cannot_work_in_place_or_name_what_is_not_there(target: str) -> None:
    pytest.importorskip("torch")
    with pytest.raises(ModelError):
        rs.compile(opaque(target, [{"input": 0}, {"input": 0}]))


@pytest.mark.parametrize(
    "arguments",
    [
        [{"weight": "none"}, 1],
        [{}, 1],
        [{"input": 0, "dtype": 5}, 1],
        [{"input": 0}, {"rows": 1e30}],
    ],
)
def test_bad_arguments_are_model_errors(arguments: list[Any]) -> None:
    pytest.importorskip("torch")
    with pytest.raises(ModelError):
        model = opaque("aten.cumsum.default", arguments)
        rs.compile(model).run(make_batch(model))


def test_a_clamp_with_crossed_limits_gives_the_upper_one() -> None:
    d = Draft()
    model = d.model(d.op("clamp", d.dense(4), low=1.0, high=-1.0))
    batch = make_batch(model)
    assert (rs.compile(model).run(batch) == -1).all()
    assert (rs.reference(model, batch) == -1).all()


def test_sizes_beyond_reason_are_refused() -> None:
    d = Draft()
    x = d.dense(1)
    for shape in ((1 << 31,), (10**18, 0), (1,) * 71):
        with pytest.raises((ModelError, ConfigError)):
            rs.compile(d.model(d.op("reshape" if 0 in shape else "expand", x, shape_to=shape)))


@pytest.mark.parametrize(
    "changes",
    [
        {"query_offsets": np.zeros((2, 1), np.int32)},
        {"query_offsets": np.array(3, np.int32)},
        {"query_offsets": np.array([0, -1], np.int32)},
        {"query_offsets": np.array([0, -(2**63)], np.int64)},
        {"query_offsets": np.array([0, 2**32 + 1], np.int64)},
        {"query_offsets": np.array([0, 3 + 1j])},
        {"dense": [[1.0]]},
        {"values": None},
    ],
)
@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning")
def test_wild_fields_are_batch_errors(changes: dict[str, Any]) -> None:
    model = rs.zoo.build("rm1", rows_scale=0.0005)
    engine = rs.compile(model)
    batch = rs.data.random_batch(model, rows=3, seed=0)
    with pytest.raises(BatchError):
        engine.run(batch.replace(**changes))


def test_a_query_without_rows_is_checked_too() -> None:
    model = rs.zoo.build("din", rows_scale=0.0005)
    batch = rs.data.random_batch(model, rows=0, seed=0)
    bad = batch.replace(values=np.full_like(batch.values, 2**31 - 1))
    for run in (rs.compile(model).run, lambda b: rs.reference(model, b)):
        with pytest.raises(IndexOutOfRange):
            run(bad)


@pytest.mark.parametrize("query_rows", [(0, 3), (3, 0, 0), (2, 0, 0, 0, 0, 0, 1)])
@pytest.mark.parametrize(("threads", "tile_rows"), [(1, 2), (1, None), (2, 2), (3, 1)])
def test_every_query_is_checked_wherever_tiles_end(
    query_rows: tuple[int, ...], threads: int, tile_rows: int | None
) -> None:
    d = Draft()
    bag, dense = d.bag(d.sparse(2, scope="user", fixed=True)), d.dense(2, scope="user")
    model = d.model(d.linear(d.op("concat", bag, dense, d.dense(3), axis=0), 9, 2))
    engine = rs.compile(model, rs.EngineConfig(threads=threads, tile_rows=tile_rows))
    batch = make_batch(model, query_rows)
    np.testing.assert_allclose(engine.run(batch), rs.reference(model, batch), rtol=1e-5, atol=1e-6)
    for query in range(len(query_rows)):
        values, user_dense = batch.values.copy(), batch.user_dense.copy()
        values[2 * query + 1], user_dense[query, 1] = 11, np.nan
        with pytest.raises(IndexOutOfRange, match=f"row {query}"):
            engine.run(batch.replace(values=values))
        with pytest.raises(NonFinite, match=f"row {query}"):
            engine.run(batch.replace(user_dense=user_dense))


def test_more_threads_than_the_system_has_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(factory: Any) -> None:
        raise RuntimeError("Resource temporarily unavailable")

    monkeypatch.setattr("recstack._native.Runner", refused)
    with pytest.raises(ConfigError, match="room for 900 threads"):
        rs.compile(rs.zoo.build("rm1", rows_scale=0.0005), rs.EngineConfig(threads=900))


def test_callers_of_a_team_take_turns_and_meet_their_own_errors() -> None:
    model = rs.zoo.build("din", rows_scale=0.0005)
    alone, team = rs.compile(model), rs.compile(model, rs.EngineConfig(threads=3))
    batches = [rs.data.random_batch(model, rows=rows, seed=rows) for rows in (1, 2, 3, 7)]
    expected = [alone.run(batch) for batch in batches]
    bad = [b.replace(values=np.full_like(b.values, 2**31 - 1)) for b in batches]

    def call(seed: int) -> None:
        for i in np.random.default_rng(seed).integers(0, len(batches), 25):
            assert np.array_equal(team.run(batches[i]), expected[i])
            with pytest.raises(IndexOutOfRange):
                team.run(bad[i])

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(call, seed) for seed in range(4)]:
            done.result(timeout=60)


def test_a_pipe_is_not_a_model(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "model.json")
    with pytest.raises(RecstackError, match="regular file"):
        rs.load(tmp_path)
