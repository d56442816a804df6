"""Models whose tables are stored in few bits: made, saved, loaded, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recstack.errors import ModelError, ModelFileError, RowError
from recstack.model import Model, build, load, requantise
from recstack.model.cost import describe
from recstack.model.cost_table import cost_table
from recstack.rows import RowFormat, quantise_reference
from tests.engine.draft import Draft
from tests.tables import text_of

STORED = [f for f in RowFormat if f is not RowFormat.FP32]


def make_model(dim: int = 6, rows: int = 70) -> Model:
    d = Draft()
    first, second = d.sparse(3), d.sparse(2)
    table = d.weight(rows, dim)
    bags = [d.op("embedding_bag", f, table=table) for f in (first, second)]
    bags.append(d.bag(second, rows=9, dim=dim))
    return d.model(d.linear(d.op("concat", *bags, axis=0), 3 * dim, 2))


def tables(model: Model) -> list[str]:
    return list(model.table_formats)


@pytest.mark.parametrize("format", STORED)
def test_a_table_in_another_format(format: RowFormat) -> None:
    model = make_model()
    first, second = tables(model)
    changed = model.with_table_formats({first: format})
    assert changed.table_formats == {first: format, second: RowFormat.FP32}
    assert changed.shapes == model.shapes and changed.values == model.values
    assert changed.weights[second] is model.weights[second]
    stored = changed.weights[first]
    np.testing.assert_array_equal(stored, quantise_reference(model.weights[first], format))
    assert not stored.flags.writeable and changed.description.format_version == 2
    assert model.table_formats[first] is RowFormat.FP32


@pytest.mark.parametrize("format", STORED)
def test_saved_and_loaded_either_way(format: RowFormat, tmp_path: Path) -> None:
    model = make_model(dim=5)
    formats = dict.fromkeys(tables(model)[:1], format)
    made = model.with_table_formats(formats)
    made.save(tmp_path / "a")
    model.save(tmp_path / "b", table_formats=formats)
    files = [sorted(p.name for p in (tmp_path / x).iterdir()) for x in "ab"]
    assert files[0] == files[1]
    for name in files[0]:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    loaded = load(tmp_path / "a")
    assert loaded.description == made.description
    for name, array in made.weights.items():
        np.testing.assert_array_equal(loaded.weights[name], array)
        assert loaded.weights[name].dtype == array.dtype and loaded.weights[name].flags.aligned


def test_models_without_stored_tables_stay_in_the_first_version(tmp_path: Path) -> None:
    model = make_model()
    model.with_table_formats({tables(model)[0]: RowFormat.FP32}).save(tmp_path / "m")
    fields = json.loads((tmp_path / "m" / "model.json").read_text())
    assert fields["format_version"] == 1 and "tables" not in fields


def test_pieces_give_what_the_whole_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model()
    formats = dict.fromkeys(tables(model), RowFormat.INT4)
    whole = model.with_table_formats(formats)
    monkeypatch.setattr(requantise, "PIECE_BYTES", 100)
    for made in (model.with_table_formats(formats),):
        for name in formats:
            np.testing.assert_array_equal(made.weights[name], whole.weights[name])
    model.save(tmp_path / "m", table_formats=formats)
    np.testing.assert_array_equal(load(tmp_path / "m").weights["w0"], whole.weights["w0"])


def test_from_one_stored_format_to_another_and_back() -> None:
    model = make_model()
    name = tables(model)[0]
    small = model.with_table_formats({name: RowFormat.INT8})
    same = small.with_table_formats({name: RowFormat.INT8})
    assert same.weights[name] is small.weights[name]
    back = small.with_table_formats({name: RowFormat.FP32})
    assert back.description.tables == {} and back.weights[name].dtype == np.float32
    np.testing.assert_allclose(back.weights[name], small.table_rows(name), rtol=1e-6, atol=1e-7)
    smaller = small.with_table_formats({name: RowFormat.INT2}, greedy=False)
    want = quantise_reference(back.weights[name], RowFormat.INT2, greedy=False)
    np.testing.assert_array_equal(smaller.weights[name], want)


def test_a_loaded_model_over_itself(tmp_path: Path) -> None:
    make_model().save(tmp_path / "m")
    loaded = load(tmp_path / "m")
    name = tables(loaded)[0]
    loaded.save(tmp_path / "m", table_formats={name: RowFormat.BF16})
    assert load(tmp_path / "m").table_formats[name] is RowFormat.BF16


@pytest.mark.parametrize(("format", "share"), [("int8", 72 / 256), ("int4", 36 / 256)])
def test_what_is_counted(format: str, share: float) -> None:
    model = make_model(dim=64)
    made = model.with_table_formats(dict.fromkeys(tables(model), RowFormat(format)))
    before, after = describe(model), describe(made)
    assert after.table_bytes == share * before.table_bytes
    assert after.row.gather_bytes == share * before.row.gather_bytes
    assert after.weight_bytes == before.weight_bytes - before.table_bytes + after.table_bytes
    assert after.table_formats == {format: 2} and f"(2 {format})" in text_of(cost_table(after))
    assert (after.parameters, after.row.flops) == (before.parameters, before.row.flops)


class TestRefused:
    @pytest.mark.parametrize("format", STORED)
    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_values_that_are_not_finite(
        self, format: RowFormat, value: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model = make_model()
        name = tables(model)[0]
        table = model.weights[name].copy()
        table[63, 2] = table[65, 0] = value
        bad = replace(model, weights={**model.weights, name: table})
        monkeypatch.setattr(requantise, "PIECE_BYTES", 100)
        for attempt in (
            lambda: bad.with_table_formats({name: format}),
            lambda: bad.save(tmp_path / "m", table_formats={name: format}),
        ):
            with pytest.raises(
                RowError, match=rf"got {value} in column 2.*'{name}'\]\[63\]"
            ) as error:
                attempt()
            assert error.value.row == 63
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("format", "value"),
        [("fp16", 7e4), ("bf16", 3.4e38), ("int4", -7e4), ("int2", 4e5), ("int8", 3e38)],
    )
    def test_values_beyond_the_format(self, format: str, value: float) -> None:
        model = make_model()
        name = tables(model)[0]
        table = model.weights[name].copy()
        table[5, :2] = value, -value
        bad = replace(model, weights={**model.weights, name: table})
        with pytest.raises(RowError, match=rf"expected .*{format}.*\[5\]"):
            bad.with_table_formats({name: RowFormat(format)})

    def test_names(self) -> None:
        model = make_model()
        with pytest.raises(ModelError, match="expected the name of a table, got 'w9'"):
            model.with_table_formats({"w9": RowFormat.INT8})
        dense = next(n for n in model.weights if n not in model.table_formats)
        with pytest.raises(ModelError, match="expected the name of a table"):
            model.with_table_formats({dense: RowFormat.INT8})
        wrong: Any = {tables(model)[0]: "int3"}
        with pytest.raises(ModelError, match=r"expected one of fp32, .*got 'int3'"):
            model.with_table_formats(wrong)

    def test_a_table_that_another_op_reads(self) -> None:
        d = Draft()
        table = d.weight(5, 4)
        bag = d.op("embedding_bag", d.sparse(2), table=table)
        model = d.model(d.op("linear", bag, weight=table))
        with pytest.raises(ModelError, match=r"float32 weight, got 'w0'.*ops\[1\] \(linear"):
            model.with_table_formats({table: RowFormat.INT8})

    @pytest.mark.parametrize(
        ("change", "wanted"),
        [
            (lambda t: t["w0"].update(dim=7), r"expected \(rows, 15\) for int8 rows of 7, got"),
            (lambda t: t["w0"].update(format="int4"), r"expected \(rows, 7\) for int4 rows of 6"),
            (lambda t: t["w0"].update(format="fp16"), "expected float16, got uint8"),
            (lambda t: t["w0"].update(format="fp8"), r"model.json: tables.w0.format"),
            (lambda t: t["w0"].update(colour="red"), r"model.json: tables.w0.colour"),
            (lambda t: t.update(w9=t["w0"]), r"expected the name of a weight.*tables\['w9'\]"),
            (lambda t: t.clear(), r"expected float32, got uint8.*weights\['w0'\]"),
            (lambda t: t.update(w1=t["w0"]), r"expected uint8, got float32.*weights\['w1'\]"),
        ],
    )
    def test_folders(self, change: Callable[[Any], None], wanted: str, tmp_path: Path) -> None:
        model = make_model()
        model.save(tmp_path / "m", table_formats={"w0": RowFormat.INT8})
        path = tmp_path / "m" / "model.json"
        fields = json.loads(path.read_text())
        change(fields["tables"])
        path.write_text(json.dumps(fields))
        with pytest.raises(ModelFileError, match=wanted):
            load(tmp_path / "m")

    def test_arrays(self) -> None:
        model = make_model().with_table_formats({"w0": RowFormat.FP16})
        for array in (np.zeros((3, 7), np.float16), np.zeros(6, np.float16)):
            with pytest.raises(ModelError, match=r"expected \(rows, 6\) for fp16 rows of 6"):
                build(model.description, {**model.weights, "w0": array})
