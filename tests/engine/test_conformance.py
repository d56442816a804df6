"""One suite over every model and every executor: the NumPy reference says what is right."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from recstack.batch import Batch, SparseInput
from recstack.data import random_batch, slice_rows
from recstack.engine import (
    DeviceConfig,
    Engine,
    EngineConfig,
    HybridEngine,
    compile,
    instruction_sets,
)
from recstack.engine.reference import reference
from recstack.engine.torch_executor import TorchExecutor
from recstack.errors import BatchError, IndexOutOfRange, NonFinite, RecstackError
from recstack.model import Model, zoo
from recstack.types import Executor
from tests.engine.devices import DEVICES
from tests.engine.draft import QUERY_ROWS_CASES, Draft, make_batch
from tests.engine.small_models import SMALL_MODELS

ISAS = [name for name, supported in instruction_sets().items() if supported]
ZOO = [(name, variant) for name in zoo.names() for variant in zoo.variants(name)]
ZOO_IDS = [f"{name}-{variant or 'proper'}" for name, variant in ZOO]
ROWS_SCALE = 0.0005
# (rows, queries, ragged, int64)
SHAPES = [
    (0, 1, False, False),
    (1, 1, False, False),
    (3, 1, True, True),
    (37, 5, True, False),
    (64, 64, False, True),
    (129, 3, False, False),
    (1000, 1, False, False),
]
pytestmark = pytest.mark.filterwarnings("ignore::recstack.engine.OpaqueWarning")


@cache
def small_zoo(name: str, variant: str | None) -> Model:
    return zoo.build(name, variant=variant, rows_scale=ROWS_SCALE)


@cache
def zoo_case(name: str, variant: str | None, shape: tuple[int, int, bool, bool]):
    rows, queries, ragged, wide = shape
    model = small_zoo(name, variant)
    batch = random_batch(
        model,
        rows=rows,
        queries=queries,
        seed=rows,
        lengths="ragged" if ragged else "fixed",
        index_dtype=np.int64 if wide else np.int32,
    )
    return batch, reference(model, batch)


@cache
def engine_of(name: str, variant: str | None, isa: str) -> Executor:
    if isa == "torch":
        return TorchExecutor(small_zoo(name, variant))
    if isa in ("cpu", "cuda"):
        fields = {"largest_rows": 128, "largest_queries": 64}
        return compile(small_zoo(name, variant), DeviceConfig(device=isa, **fields))
    return compile(small_zoo(name, variant), EngineConfig(isa=isa))


def assert_close(got: np.ndarray, want: np.ndarray) -> None:
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("isa", [*ISAS, "torch", *DEVICES])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("name", "variant"), ZOO, ids=ZOO_IDS)
def test_zoo_agrees_with_the_reference(name, variant, shape, isa) -> None:
    if name == "dlrm-dcnv2" and shape[0] > 100:
        pytest.skip("32 MFLOP per row: the smaller shapes cover its ops")
    batch, want = zoo_case(name, variant, shape)
    got = engine_of(name, variant, isa).run(batch)
    assert got.dtype == np.float32
    assert_close(got, want)


@pytest.mark.parametrize("tile_rows", [None, 3])
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", SMALL_MODELS)
def test_every_op_agrees_with_the_reference(name: str, isa: str, tile_rows: int | None) -> None:
    model, batch = SMALL_MODELS[name]()
    engine = compile(model, EngineConfig(isa=isa, tile_rows=tile_rows, threads=2))
    for query_rows in [None, *QUERY_ROWS_CASES]:
        if query_rows is not None:
            batch = make_batch(model, query_rows, seed=7, index_dtype=batch.values.dtype.type)
        assert_close(engine.run(batch), reference(model, batch))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("name", "variant"), ZOO, ids=ZOO_IDS)
def test_a_split_query_equals_the_whole_bit_for_bit(name, variant, isa) -> None:
    model = small_zoo(name, variant)
    batch = random_batch(model, rows=61, seed=3, lengths="ragged")
    engine = engine_of(name, variant, isa)
    whole = engine.run(batch)
    for width in (1, 7, 40):
        parts = [
            engine.run(slice_rows(batch, model.inputs, at, min(at + width, batch.rows)))
            for at in range(0, batch.rows, width)
        ]
        assert np.array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("name", "variant"), ZOO, ids=ZOO_IDS)
def test_threads_change_no_bit(name, variant, isa) -> None:
    model = small_zoo(name, variant)
    alone, team = engine_of(name, variant, isa), compile(model, EngineConfig(isa=isa, threads=3))
    for rows in (1, 2, 5, 61):
        batch = random_batch(model, rows=rows, seed=3, lengths="ragged")
        assert np.array_equal(team.run(batch), alone.run(batch))
        if batch.values.size == 0:
            continue
        wrong = batch.replace(values=np.append(batch.values[:-1], batch.values.dtype.type(1 << 30)))
        with pytest.raises(IndexOutOfRange):
            team.run(wrong)
        assert np.array_equal(team.run(batch), alone.run(batch))


@pytest.mark.parametrize("padding", [None, 0])
@pytest.mark.parametrize("value", [-1, -(2**31), 2**31 - 1])
def test_an_index_that_only_a_mask_reads_is_checked(value: int, padding: int | None) -> None:
    d = Draft()
    model = d.model(d.op("sequence_mask", d.sparse(3), padding_index=padding))
    good = make_batch(model, (5,))
    values = good.values.copy()
    values[-1] = value
    engine, bad = compile(model), good.replace(values=values)
    with pytest.raises(IndexOutOfRange) as native:
        engine.run(bad)
    with pytest.raises(IndexOutOfRange) as twin:
        reference(model, bad)
    assert str(native.value) == str(twin.value)
    assert np.array_equal(engine.run(good), reference(model, good))


def test_two_engines_with_other_settings_live_side_by_side() -> None:
    model = small_zoo("rm1", None)
    batch = random_batch(model, rows=9, seed=1)
    engines = [compile(model, EngineConfig(isa=isa, threads=t)) for isa in ISAS for t in (1, 2)]
    want = reference(model, batch)
    for engine in engines + engines[::-1]:
        assert_close(engine.run(batch), want)


def user_scope_din() -> Model:
    return zoo.build("rm1", rows_scale=ROWS_SCALE, user_scope_tables=4)


@pytest.mark.parametrize("isa", ISAS)
def test_user_scope_is_once_per_query(isa: str) -> None:
    model = user_scope_din()
    assert any(i.scope == "user" for i in model.sparse)
    engine = compile(model, EngineConfig(isa=isa))
    for rows, queries in ((50, 1), (50, 7), (300, 2), (130, 130)):
        batch = random_batch(model, rows=rows, queries=queries, seed=queries, lengths="ragged")
        assert_close(engine.run(batch), reference(model, batch))


class TestBadInput:
    """Bad input gives the error that the reference gives, and the engine goes on working."""

    def case(self, isa: str) -> tuple[Model, Engine | HybridEngine, Batch]:
        model = user_scope_din()
        return model, compile(model, EngineConfig(isa=isa)), random_batch(model, rows=20, seed=0)

    def check(self, isa: str, error: type[RecstackError], **changes: np.ndarray) -> RecstackError:
        model, engine, good = self.case(isa)
        bad = good.replace(**changes)
        with pytest.raises(error) as native:
            engine.run(bad)
        with pytest.raises(error) as twin:
            reference(model, bad)
        assert str(native.value) == str(twin.value)
        assert_close(engine.run(good), reference(model, good))
        return native.value

    @pytest.mark.parametrize("isa", ISAS)
    @pytest.mark.parametrize("value", [-1, -(2**31), 2000, 2**31 - 1])
    def test_index_out_of_range(self, isa: str, value: int) -> None:
        model, _, good = self.case(isa)
        values = good.values.copy()
        values[80 * 3 + 5] = value
        error = self.check(isa, IndexOutOfRange, values=values)
        assert isinstance(error, IndexOutOfRange)
        assert error.feature in {i.name for i in model.sparse if isinstance(i, SparseInput)}
        assert (error.value, error.limit) == (value, 2000)

    @pytest.mark.parametrize("isa", ISAS)
    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_not_finite(self, isa: str, value: float) -> None:
        dense = self.case(isa)[2].dense.copy()
        dense[13, 2] = value
        error = self.check(isa, NonFinite, dense=dense)
        assert isinstance(error, NonFinite)
        assert (error.row, error.column) == (13, 2)

    def test_lengths(self) -> None:
        lengths = self.case("scalar")[2].lengths.copy()
        flat = lengths.reshape(-1)
        flat[4] -= 1
        self.check("scalar", BatchError, lengths=lengths)
        flat[5] += 1
        flat[4], flat[5] = -3, flat[5] + flat[4] + 3
        self.check("scalar", BatchError, lengths=lengths)
        self.check("scalar", BatchError, lengths=lengths.astype(np.int64))
        self.check("scalar", BatchError, lengths=flat[:-1])

    def test_shapes_and_dtypes(self) -> None:
        good = self.case("scalar")[2]
        for changes in (
            {"dense": good.dense[:-1]},
            {"dense": good.dense[:, :-1].copy()},
            {"dense": good.dense.astype(np.float64)},
            {"values": good.values.astype(np.float32)},
            {"values": good.values[:-1]},
            {"values": good.values.astype(np.uint32)},
            {"query_offsets": np.array([0, 25], np.int32)},
            {"query_offsets": np.array([0, 30, 20], np.int32)},
            {"query_offsets": np.array([1, 20], np.int32)},
            {"query_offsets": np.zeros(0, np.int32)},
        ):
            self.check("scalar", BatchError, **changes)

    def test_strided_arrays_are_refused_not_misread(self) -> None:
        _, engine, good = self.case("scalar")
        wide = np.zeros((good.rows, 2 * good.dense.shape[1]), np.float32)
        with pytest.raises(BatchError, match="contiguous"):
            engine.run(good.replace(dense=wide[:, ::2]))

    def test_out(self) -> None:
        _, engine, good = self.case("scalar")
        out = np.empty((good.rows, 1), np.float32)
        assert engine.run(good, out=out) is out
        with pytest.raises(BatchError, match="`out`"):
            engine.run(good, out=np.empty((good.rows + 1, 1), np.float32))
