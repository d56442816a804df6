"""Hostile models and batches end in an error of recstack's own, never in an effect or a crash."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import recstack as rs
from recstack.engine.reference.checks import check_batch
from recstack.errors import (
    BatchError,
    ConfigError,
    IndexOutOfRange,
    ModelError,
    NonFinite,
    RecstackError,
)
from recstack.rows import RowFormat
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


def misplaced(array: np.ndarray) -> np.ndarray:
    """The same values one byte past a multiple of their size."""
    return np.frombuffer(b"x" + array.tobytes(), array.dtype, offset=1).reshape(array.shape)


@pytest.mark.parametrize("name", ["dense", "values", "lengths", "query_offsets"])
def test_arrays_that_cannot_be_read_in_place_are_named(name: str) -> None:
    model = rs.zoo.build("rm1", rows_scale=0.0005)
    engine = rs.compile(model)
    batch = rs.data.random_batch(model, rows=3, seed=0)
    array = getattr(batch, name)
    strided = np.repeat(array, 2, axis=-1)[..., ::2]
    read_only = array.copy()
    read_only.flags.writeable = False
    for changed, wanted in (
        (misplaced(array), "aligned"),
        (strided, "contiguous"),
        (array.astype(array.dtype.newbyteorder()), "got .*>"),
        (array[None], "got "),
    ):
        if name == "lengths" and changed.ndim == 3:
            continue  # read in order, whatever its shape
        with pytest.raises(BatchError, match=f"(?s){wanted}.*{name}"):
            engine.run(batch.replace(**{name: changed}))
    np.testing.assert_array_equal(engine.run(batch.replace(**{name: read_only})), engine.run(batch))


def test_scores_go_only_where_they_fit() -> None:
    model = rs.zoo.build("rm1", rows_scale=0.0005)
    engine = rs.compile(model)
    batch = rs.data.random_batch(model, rows=3, seed=0)
    out = np.zeros((3, 1), np.float32)
    out.flags.writeable = False
    shifted = np.zeros(13, np.uint8)[1:].view(np.float32).reshape(3, 1)
    for wrong in (out, shifted, [[1.0]] * 3, np.zeros((3, 2), np.float32)):
        with pytest.raises(BatchError, match="at `out`"):
            engine.run(batch, wrong)  # type: ignore[arg-type]


EXTREMES = (-(2**63), -(2**31), -1, 2**31 - 1, 2**31, 2**32, 2**63 - 1)


def damaged(batch: rs.Batch, random: np.random.Generator) -> rs.Batch:
    """`batch` with one array changed: a value, its type, its end, or its place."""
    name = random.choice(["dense", "user_dense", "values", "lengths", "query_offsets"])
    array = getattr(batch, name).copy()
    change = random.integers(0, 6)
    if change == 0:
        array = array[:-1]
    elif change == 1:
        array = array.astype(np.int16 if array.dtype.kind == "i" else np.float64)
    elif change == 2:
        array = misplaced(array) if array.size else array.reshape(-1)
    elif array.size and array.dtype.kind == "f":
        array.flat[random.integers(array.size)] = random.choice([np.nan, np.inf, -np.inf])
    elif array.size:
        wide = array.astype(np.int64) if name == "values" else array
        wide.flat[random.integers(array.size)] = (
            random.choice(EXTREMES) if name == "values" else random.choice([-1, 7, 2**31 - 1])
        )
        array = wide
    return batch.replace(**{name: array})


@pytest.mark.parametrize("table", ["fp32", "int8", "int4", "int2", "bf16"])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16", "int8"])
def test_damaged_batches_meet_the_references_error(precision: Any, table: str) -> None:
    model = rs.zoo.build("din", rows_scale=0.0001)
    model = model.with_table_formats(dict.fromkeys(model.table_formats, RowFormat(table)))
    engine = rs.compile(model, rs.EngineConfig(precision=precision))
    random = np.random.default_rng(0)
    refused = 0
    for seed in range(40):
        batch = damaged(rs.data.random_batch(model, rows=seed % 4, seed=seed), random)
        try:
            check_batch(model, batch)
        except BatchError as error:
            with pytest.raises(BatchError) as caught:
                engine.run(batch)
            assert str(caught.value) == str(error)
            refused += 1
            continue
        try:
            engine.run(batch)
        except BatchError as error:
            assert "aligned" in str(error)
    assert refused > 10


@pytest.mark.parametrize("isa", rs.engine.instruction_sets())
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16", "int8"])
def test_a_table_that_is_not_finite_gives_no_number_and_no_harm(precision: Any, isa: str) -> None:
    if not rs.engine.instruction_sets()[isa]:
        pytest.skip(f"this processor has no {isa}")
    model = rs.zoo.build("din", rows_scale=0.0001)
    weights = {name: array.copy() for name, array in model.weights.items()}
    batch = rs.data.random_batch(model, rows=3, seed=0)
    for table in model.table_formats:
        weights[table][:, :] = np.inf
    spoilt = rs.Model(model.description, weights, model.values)
    scores = rs.compile(spoilt, rs.EngineConfig(precision=precision, isa=isa)).run(batch)
    assert np.isnan(scores).all()


def values_of(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of all that a JSON value holds."""
    below = enumerate(tree) if isinstance(tree, list) else tree.items()
    for key, value in below:
        yield (*path, key)
        if isinstance(value, list | dict):
            yield from values_of(value, (*path, key))


SPOILERS: tuple[Any, ...] = (
    None, True, 0, -1, 3, 1.5, 1e999, 2**31, 2**63, 10**30, "", "x", "\ud800", [], {}, [[]], [0, 1],
)  # fmt: skip


@pytest.mark.parametrize("table", ["fp32", "int4"])
@pytest.mark.parametrize("name", ["rm1", "din", "ncf"])
def test_a_damaged_description_is_an_error_with_a_place_or_another_model(
    name: str, table: str, tmp_path: Path
) -> None:
    model = rs.zoo.build(name, rows_scale=0.00001)
    model.save(tmp_path, table_formats=dict.fromkeys(model.table_formats, RowFormat(table)))
    path = tmp_path / "model.json"
    good = path.read_text()
    random = np.random.default_rng(1)
    for _ in range(60):
        tree = json.loads(good)
        paths = list(values_of(tree))
        *above, key = paths[random.integers(len(paths))]
        parent = tree
        for step in above:
            parent = parent[step]
        if random.random() < 0.3:
            del parent[key]
        else:
            parent[key] = SPOILERS[random.integers(len(SPOILERS))]
        path.write_text(json.dumps(tree))
        try:
            other = rs.load(tmp_path)
            rs.compile(other).run(rs.data.random_batch(other, rows=2, seed=0))
        except RecstackError as error:
            assert " - at `" in str(error), error
