from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from recstack.errors import ConfigError
from recstack.model import load, parse_description, zoo

ALL = [(name, variant) for name in zoo.names() for variant in zoo.variants(name)]
SMALL = 2e-4


def test_names() -> None:
    assert zoo.names() == (
        "ncf", "rm1", "rm2", "rm3", "wnd", "mt-wnd", "din", "dien", "dlrm-dcnv2",
    )  # fmt: skip
    assert all(zoo.variants(n) == (None, "deeprecsys") for n in zoo.names()[:-1])


@pytest.mark.parametrize(("name", "variant"), ALL)
def test_build_agrees_with_outline_and_description(name: str, variant: str | None) -> None:
    model = zoo.build(name, rows_scale=SMALL, variant=variant)
    outline = zoo.outline(name, rows_scale=SMALL, variant=variant)
    data, shapes = zoo.description(name, rows_scale=SMALL, variant=variant)
    assert model.description == outline.description == data
    assert {n: w.shape for n, w in model.weights.items()} == shapes
    assert {n: w.shape for n, w in outline.weights.items()} == shapes
    assert parse_description(data.model_dump(mode="json")) == data
    used = {w for op in model.ops for w in op.weights()}
    assert used == set(shapes)


@pytest.mark.parametrize(("name", "variant"), ALL)
def test_weights(name: str, variant: str | None, tmp_path: Any) -> None:
    model = zoo.build(name, rows_scale=SMALL, variant=variant)
    again = zoo.build(name, rows_scale=SMALL, variant=variant)
    other = zoo.build(name, seed=1, rows_scale=SMALL, variant=variant)
    for key, array in model.weights.items():
        assert array.dtype == np.float32 and not array.flags.writeable
        assert array.ctypes.data % 64 == model.weights[next(iter(model.weights))].ctypes.data % 64
        assert np.isfinite(array).all()
        assert np.array_equal(array, again.weights[key])
        assert key == "start" or not np.array_equal(array, other.weights[key])
    model.save(tmp_path / "m")
    saved = load(tmp_path / "m")
    assert saved.description == model.description
    assert all(np.array_equal(saved.weights[k], w) for k, w in model.weights.items())


@pytest.mark.parametrize(("name", "variant"), ALL)
def test_scores_vary_and_are_not_saturated(name: str, variant: str | None) -> None:
    reference = pytest.importorskip("recstack.engine.reference", exc_type=ImportError).reference
    from recstack.data import random_batch

    model = zoo.build(name, rows_scale=5e-3 if name == "ncf" else SMALL, variant=variant)
    for lengths in ("fixed", "ragged"):
        batch = random_batch(model, rows=64, seed=1, lengths=lengths)  # type: ignore[arg-type]
        scores = reference(model, batch)
        assert scores.shape == (64, model.output_width)
        assert (scores.std(axis=0) > 1e-3).all(), "seed 1"
        assert ((scores > 1e-3) & (scores < 1 - 1e-3)).mean() > 0.99, "seed 1"


def test_rows_scale() -> None:
    def rows(**named: Any) -> list[int]:
        shapes = zoo.description(**named)[1]
        return [shape[0] for name, shape in shapes.items() if name.startswith("tables.")]

    assert rows(name="rm1", rows_scale=0.5) == [2_000_000] * 8
    assert rows(name="rm1", rows_scale=1e-12) == [1] * 8
    assert min(rows(name="dlrm-dcnv2", rows_scale=1e-12)) == 3
    assert rows(name="dlrm-dcnv2", rows_scale=0.01)[:6] == [400_000, 391, 173, 74, 203, 3]
    assert rows(name="rm1", rows_scale=2.0) == [8_000_000] * 8


def test_user_scope_tables() -> None:
    model = zoo.outline("rm1", user_scope_tables=4)
    assert [i.scope for i in model.sparse] == ["user"] * 4 + ["item"] * 4
    assert model.values["bag_0"].scope == "user" and model.values["interaction"].scope == "item"


@pytest.mark.parametrize("name", ["ncf", "din", "dien"])
def test_the_users_features(name: str) -> None:
    assert {i.scope for i in zoo.outline(name).sparse} == {"user", "item"}
    assert {i.scope for i in zoo.outline(name, user_scope=False).sparse} == {"item"}
    assert {i.scope for i in zoo.outline(name, variant="deeprecsys").sparse} == {"item"}


def test_history_shares_the_ads_table() -> None:
    for name in ("din", "dien"):
        ops = {op.output: op for op in zoo.outline(name).ops}
        assert ops["history_rows"].weights() == ops["ad_row"].weights() == ("tables.ad",)


@pytest.mark.parametrize(
    ("name", "variant", "tables"),
    [
        ("din", "deeprecsys", 253),
        ("dien", "deeprecsys", 43),
        ("mt-wnd", None, 43),
        ("din", None, 3),
    ],
)
def test_tables(name: str, variant: str | None, tables: int) -> None:
    found = [w for w in zoo.outline(name, variant=variant).weights if w.startswith("tables.")]
    assert len(found) == tables


def test_overrides() -> None:
    model = zoo.outline("rm3", tables=(10, 20), lookups=7, top=(5, 2), bottom=(8,))
    assert [i.length for i in model.sparse] == [7, 7]
    assert model.values["interaction"].shape == (8 + 64,) and model.output_width == 2
    assert zoo.outline("mt-wnd", tasks=3).output_width == 3
    assert zoo.outline("mt-wnd", tasks=2, variant="deeprecsys").output_width == 256
    assert zoo.outline("wnd", wide=False).description.ops == (
        zoo.outline("wnd", variant="deeprecsys").description.ops
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "bert"}, r"model of the zoo \(ncf, rm1, .*\), got 'bert'"),
        ({"name": "rm1", "variant": "old"}, r"variant of rm1 \(None, 'deeprecsys'\), got 'old'"),
        ({"name": "dlrm-dcnv2", "variant": "deeprecsys"}, r"variant of dlrm-dcnv2 \(None\)"),
        ({"name": "rm1", "rows_scale": 0}, "rows_scale > 0, got 0"),
        ({"name": "rm1", "rows_scale": -1.0}, "rows_scale > 0, got -1.0"),
        ({"name": "rm1", "rows_scale": float("nan")}, "rows_scale > 0, got nan"),
        ({"name": "rm1", "rows_scale": float("inf")}, "rows_scale > 0, got inf"),
        ({"name": "rm1", "seed": -1}, r"0 <= seed < 2\*\*64, got -1"),
        ({"name": "rm1", "seed": 1 << 64}, r"0 <= seed < 2\*\*64"),
        ({"name": "rm1", "seed": 0.5}, r"0 <= seed < 2\*\*64, got 0.5"),
        ({"name": "rm1", "colour": 3}, "expected one of .*lookups.* for rm1, got 'colour'"),
        ({"name": "rm1", "lookups": 0}, "rm1: .*got 0 - at `lookups`"),
        ({"name": "rm1", "tables": (5, "x")}, "got 'x' - at `tables.1`"),
        ({"name": "rm1", "user_scope_tables": 9}, "at most 8 .*tables, got 9"),
        ({"name": "rm1", "user_scope_tables": -1}, "got -1 - at `user_scope_tables`"),
        ({"name": "dlrm-dcnv2", "tables": (5, 6)}, "as many multi_hot sizes as tables"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        zoo.build(**arguments)


def test_a_model_larger_than_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recstack.model.zoo.fill.available_bytes", lambda: 20_000_000_000)
    with pytest.raises(ConfigError, match=r"20\.0 GB of free memory, got 104\.6 GB.*rows_scale"):
        zoo.build("dlrm-dcnv2")


def test_listing_builds_nothing() -> None:
    found = {(e.name, e.variant): e for e in zoo.listing()}
    assert list(found) == ALL
    assert found["din", "deeprecsys"].tables == 253
    assert found["dlrm-dcnv2", None].table_bytes > 1e11
    assert found["rm2", None].lookups == 3840
