"""Models whose tables are stored in few bits, on every instruction set and executor."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import recstack as rs
from recstack.batch import Batch
from recstack.bench.contender import Setting, Unsupported
from recstack.bench.contenders.recstack import Recstack
from recstack.bench.form import form_of
from recstack.data import random_batch, slice_rows
from recstack.engine import instruction_sets
from recstack.engine.tables import table_names
from recstack.engine.torch_executor import TorchExecutor
from recstack.errors import IndexOutOfRange
from recstack.memory import huge_pages_available
from recstack.model import Model, zoo
from recstack.rows import RowFormat
from tests.engine.draft import Draft, make_batch
from tests.engine.small_models import SMALL_MODELS

ISAS = [name for name, supported in instruction_sets().items() if supported]
FORMATS = list(RowFormat)
WITH_TABLES = [name for name in SMALL_MODELS if SMALL_MODELS[name]()[0].table_formats]


def stored(model: Model, format: RowFormat | None) -> Model:
    """`model` with all tables in `format`; None: each in the next one."""
    names = list(model.table_formats)
    return model.with_table_formats(
        {n: format or FORMATS[i % len(FORMATS)] for i, n in enumerate(names)}
    )


def assert_close(got: np.ndarray, want: np.ndarray) -> None:
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("format", [None, *FORMATS[1:]], ids=str)
@pytest.mark.parametrize("name", WITH_TABLES)
def test_every_small_model_agrees_with_the_reference(name: str, format: RowFormat | None) -> None:
    model, batch = SMALL_MODELS[name]()
    model = stored(model, format)
    want = rs.reference(model, batch)
    for isa in ISAS:
        engine = rs.compile(model, rs.EngineConfig(isa=isa, tile_rows=3, threads=2))
        assert_close(engine.run(batch), want)


@cache
def wide_model(dim: int) -> Model:
    """Bags of all kinds over tables of `dim` columns, of user and item scope."""
    d = Draft(dim)
    ragged, user = d.sparse(40), d.sparse(5, "user")
    weighted, sequence = d.sparse(9, weighted=True), d.sparse(3, fixed=True)
    outputs = []
    for _ in range(len(FORMATS)):
        outputs += [d.bag(ragged, rows=500, dim=dim), d.bag(user, rows=37, dim=dim)]
        outputs.append(d.bag(ragged, rows=91, dim=dim, pooling="mean", padding_index=0))
        outputs.append(d.bag(weighted, rows=100, dim=dim, pooling="weighted", row_offset=3))
        outputs.append(d.bag(sequence, rows=53, dim=dim, pooling="none", padding_index=0))
    return d.model(*outputs)


@cache
def wide_case(dim: int, format: RowFormat | None) -> tuple[Model, Batch, np.ndarray]:
    model = stored(wide_model(dim), format)
    batch = make_batch(model, (7, 0, 30), seed=dim, index_dtype=np.int64 if dim % 2 else np.int32)
    return model, batch, rs.reference(model, batch)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("format", [None, *FORMATS[1:]], ids=str)
@pytest.mark.parametrize("dim", [1, 3, 8, 17, 32, 64, 100])
def test_bags_of_many_widths(dim: int, format: RowFormat | None, isa: str) -> None:
    model, batch, want = wide_case(dim, format)
    got = rs.compile(model, rs.EngineConfig(isa=isa)).run(batch)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("format", [None, *FORMATS[1:]], ids=str)
def test_splits_and_threads_change_no_bit(format: RowFormat | None, isa: str) -> None:
    model = stored(zoo.build("rm2", rows_scale=0.0005, user_scope_tables=3), format)
    batch = random_batch(model, rows=31, seed=3, lengths="ragged")
    engine = rs.compile(model, rs.EngineConfig(isa=isa))
    whole = engine.run(batch)
    for width in (1, 11):
        parts = [
            engine.run(slice_rows(batch, model.inputs, at, min(at + width, batch.rows)))
            for at in range(0, batch.rows, width)
        ]
        assert np.array_equal(np.concatenate(parts), whole)
    team = rs.compile(model, rs.EngineConfig(isa=isa, threads=3))
    assert np.array_equal(team.run(batch), whole)


@pytest.mark.parametrize("isa", ISAS)
def test_a_bad_index_is_named(isa: str) -> None:
    model = stored(zoo.build("rm1", rows_scale=0.0005), None)
    batch = random_batch(model, rows=4, seed=0)
    engine = rs.compile(model, rs.EngineConfig(isa=isa))
    for at in (0, 100, batch.values.size - 1):
        values = batch.values.copy()
        values[at] = 1 << 30
        with pytest.raises(IndexOutOfRange, match="got 1073741824"):
            engine.run(batch.replace(values=values))
    assert_close(engine.run(batch), rs.reference(model, batch))


@pytest.mark.parametrize("fuse", [False, True])
def test_the_torch_executor_dequantises(fuse: bool) -> None:
    model = stored(zoo.build("rm1", rows_scale=0.0005), None)
    batch = random_batch(model, rows=7, seed=1)
    assert_close(TorchExecutor(model, fuse_tables=fuse).run(batch), rs.reference(model, batch))


def test_the_bench_takes_them_natively_and_refuses_them_for_peers(tmp_path: Path) -> None:
    model = stored(zoo.build("rm1", rows_scale=0.0005), RowFormat.INT8)
    batch = random_batch(model, rows=7, seed=1)
    ours = Recstack(model, Setting(rows=7, threads=1, isa="auto", cache=tmp_path))
    assert_close(ours.scores(ours.run(ours.stage(batch))), rs.reference(model, batch))
    with pytest.raises(Unsupported, match=r"'tables\.0' is stored as int8"):
        form_of(model)


@pytest.mark.parametrize("wanted", ["mapped", "huge"])
def test_memory_of_saved_models(tmp_path: Path, wanted: Any) -> None:
    d = Draft()
    bags = [d.bag(d.sparse(3), rows=150_000, dim=9) for _ in range(2)]
    model = d.model(d.linear(d.op("concat", *bags, axis=0), 18, 2))
    formats = dict(zip(table_names(model), (RowFormat.INT8, RowFormat.INT4), strict=True))
    model.save(tmp_path / "m", table_formats=formats)
    loaded = rs.load(tmp_path / "m")
    engine = rs.compile(loaded, rs.EngineConfig(table_memory=wanted))
    assert engine.memory.table_bytes == 150_000 * (9 + 8 + 5 + 4)
    assert engine.memory.table_memory == wanted
    if wanted == "huge" and huge_pages_available():
        assert engine.memory.huge_page_bytes <= engine.memory.table_bytes
    batch = make_batch(loaded)
    assert_close(engine.run(batch), rs.reference(model.with_table_formats(formats), batch))
