"""Where tables lie: the choice, one copy for all engines, and what engines report."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import recstack as rs
from recstack.engine import tables
from recstack.engine.tables import choose
from recstack.errors import ConfigError, ModelFileError
from recstack.memory import huge_pages_available
from recstack.model.mapped import MappedWeights
from tests.engine.draft import Draft, make_batch

GB = 10**9


@pytest.mark.parametrize(
    ("wanted", "size", "available", "huge_pages", "kind", "reason"),
    [
        ("mapped", 8 * GB, 20 * GB, True, "mapped", "asked for"),
        ("huge", 1, 2, True, "huge", "asked for"),
        ("huge", 8 * GB, 20 * GB, False, "huge", "asked for; the kernel gives no huge pages"),
        ("auto", 8 * GB, 20 * GB, True, "huge", "8.0 GB of 20.0 GB free"),
        ("auto", 8 * GB, 20 * GB, False, "mapped", "transparent_hugepage is never"),
        ("auto", 18 * GB, 20 * GB, True, "huge", "18.0 GB of 20.0 GB free"),
        ("auto", 19 * GB, 20 * GB, True, "mapped", "a copy would take 19.0 GB of 20.0 GB free"),
        ("auto", 1 * GB, 2 * GB, True, "mapped", "a copy would take 1.0 GB of 2.0 GB free"),
        ("auto", 200 << 20, 20 * GB, True, "mapped", "under 256 MiB"),
    ],
)
def test_the_choice(
    wanted: Any, size: int, available: int, huge_pages: bool, kind: str, reason: str
) -> None:
    found = choose(wanted, size, available, huge_pages)
    assert found[0] == kind and reason in found[1]


def test_huge_without_memory_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"expected tables that fit in 1.0 GB.*table_memory"):
        choose("huge", 2 * GB, GB, True)


def make_model() -> rs.Model:
    d = Draft()
    bags = [d.bag(d.sparse(3), rows=150_000, dim=8) for _ in range(2)]
    return d.model(d.linear(d.op("concat", *bags, axis=0), 16, 2))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_model().save(tmp_path / "m")
    return tmp_path / "m"


def test_engines_of_a_loaded_model_share_one_copy(folder: Path) -> None:
    model = rs.load(folder)
    assert isinstance(model.weights, MappedWeights)
    huge = rs.EngineConfig(table_memory="huge")
    first, second = rs.compile(model, huge), rs.compile(model, rs.EngineConfig())
    addresses = {
        engine.placed.weights[name].ctypes.data
        for engine in (first, second)
        for name in tables.table_names(model)
    }
    assert len(addresses) == 2
    assert second.memory.table_memory == "huge" and "another engine" in second.memory.table_reason
    mapped = rs.compile(model, rs.EngineConfig(table_memory="mapped"))
    assert mapped.placed is model and mapped.memory.huge_page_bytes == 0
    batch = make_batch(model)
    for engine in (first, second, mapped):
        assert np.array_equal(engine.run(batch), mapped.run(batch))
    names = tables.table_names(model)
    del first, second, engine
    gc.collect()
    assert not model.weights.copied(names)


@pytest.mark.parametrize("wanted", ["auto", "mapped", "huge"])
def test_a_file_cut_short_since_it_was_loaded_is_refused(folder: Path, wanted: Any) -> None:
    model = rs.load(folder)
    os.truncate(folder / "weights.safetensors", 4096)
    with pytest.raises(ModelFileError, match="cut short"):
        rs.compile(model, rs.EngineConfig(table_memory=wanted))


def test_a_file_replaced_since_it_was_loaded_changes_nothing(folder: Path) -> None:
    model = rs.load(folder)
    other = folder / "other"
    other.write_bytes(b"x")
    other.replace(folder / "weights.safetensors")
    batch = make_batch(model)
    for wanted in ("mapped", "huge"):
        scores = rs.compile(model, rs.EngineConfig(table_memory=wanted)).run(batch)
        np.testing.assert_allclose(scores, rs.reference(make_model(), batch), rtol=1e-5, atol=1e-6)


def test_an_engine_outlives_its_model(folder: Path) -> None:
    engine = rs.compile(rs.load(folder), rs.EngineConfig(table_memory="huge"))
    gc.collect()
    batch = make_batch(engine.model)
    np.testing.assert_allclose(
        engine.run(batch), rs.reference(make_model(), batch), rtol=1e-5, atol=1e-6
    )


def test_what_an_engine_reports(folder: Path) -> None:
    engine = rs.compile(rs.load(folder), rs.EngineConfig(table_memory="huge", tile_rows=16))
    memory = engine.memory
    assert memory.table_bytes == 2 * 150_000 * 8 * 4
    assert memory.packed_weight_bytes == 4 * (2 * 16 + 2)
    assert memory.workspace_bytes_per_executor % (4 * 16) == 0
    assert memory.workspace_bytes_per_executor >= 4 * 16 * 16
    assert 0 <= memory.huge_page_bytes <= memory.table_bytes
    if not huge_pages_available():
        assert memory.huge_page_bytes == 0
    assert min(memory.plan_ms, memory.packing_ms, memory.tables_ms) > 0
    assert memory.to_record()["table_memory"] == "huge"
    text = str(memory)
    assert text.startswith("tables 9.6 MB copied into memory") and "\n" not in text
    assert "asked for" in text and "tables read in" in text


def test_a_table_that_two_ops_read_counts_once(tmp_path: Path) -> None:
    d = Draft()
    feature = d.sparse(3)
    table = d.weight(100, 4)
    bags = [d.op("embedding_bag", feature, table=table, pooling=p) for p in ("sum", "mean")]
    d.model(*bags).save(tmp_path / "m")
    memory = rs.compile(rs.load(tmp_path / "m")).memory
    assert memory.table_bytes == 1600 and memory.table_memory == "mapped"
    assert memory.packed_weight_bytes == 0


def test_models_in_memory_keep_their_tables() -> None:
    model = make_model()
    for wanted in ("auto", "mapped", "huge"):
        engine = rs.compile(model, rs.EngineConfig(table_memory=wanted))
        assert engine.placed is model and engine.memory.table_memory == "shared"


def test_a_model_without_tables(tmp_path: Path) -> None:
    d = Draft()
    d.model(d.linear(d.dense(4), 4, 1)).save(tmp_path / "m")
    for wanted in ("auto", "mapped", "huge"):
        engine = rs.compile(rs.load(tmp_path / "m"), rs.EngineConfig(table_memory=wanted))
        assert engine.memory.table_bytes == 0
        assert engine.run(make_batch(engine.model)).shape == (7, 1)


@pytest.mark.filterwarnings("ignore::recstack.engine.OpaqueWarning")
def test_hybrid_engines_share_the_copy_between_stages(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    d = Draft()
    bag = d.bag(d.sparse(3), rows=1000, dim=4)
    summed = d.op(
        "opaque", bag, target="aten.cumsum.default", arguments=[{"input": 0}, 1], entry_shape=[4]
    )
    second = d.bag(d.sparse(2), rows=1000, dim=4)
    d.model(d.linear(d.op("concat", summed, second, axis=0), 8, 1)).save(tmp_path / "m")
    model = rs.load(tmp_path / "m")
    engine = rs.compile(model, rs.EngineConfig(table_memory="huge"))
    assert engine.memory.table_memory == "huge" and engine.memory.table_bytes == 2 * 16_000
    assert engine.memory.packed_weight_bytes == 4 * 9
    batch = make_batch(model)
    np.testing.assert_allclose(engine.run(batch), rs.reference(model, batch), rtol=1e-5, atol=1e-6)
