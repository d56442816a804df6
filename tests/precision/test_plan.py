from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import recstack as rs
from recstack.engine.precision import ActivationRange, LayerPlan, LayerPrecision
from recstack.errors import ConfigError
from recstack.precision.plan import (
    PrecisionPlan,
    apply,
    parse_plan,
    read_plan,
    tables_of,
    uniform,
)
from recstack.rows import RowFormat
from recstack.tune import Deployment, read_deployment

MODEL = rs.zoo.build("ncf", rows_scale=1e-3)
FULL = PrecisionPlan(
    RowFormat.INT8,
    {"a.b": RowFormat.INT4, 'odd "name" # é': RowFormat.FP16},
    LayerPlan(
        LayerPrecision("bf16"),
        {
            "top.0": LayerPrecision("int8", ActivationRange(-1.5, 1e-9), (0, 17)),
            "sum:pooled": LayerPrecision("fp32"),
        },
    ),
    greedy=False,
)


@pytest.mark.parametrize("plan", [FULL, PrecisionPlan(), uniform(MODEL, "int4", "int8")])
def test_a_plan_reads_back_as_it_was_written(plan: PrecisionPlan, tmp_path: Path) -> None:
    notes = dict.fromkeys([*plan.tables, *plan.layers.layers], "why\nso")
    plan.save(tmp_path / "plan.toml", notes)
    assert read_plan(tmp_path / "plan.toml") == plan
    assert "# why so" in (tmp_path / "plan.toml").read_text() or not notes


def test_what_a_plan_does_not_name_has_its_default() -> None:
    plan = parse_plan('format = 1\n[tables]\ndefault = "int8"\n[layers]\ndefault = "bf16"\n')
    model, config = apply(MODEL, plan)
    assert set(model.table_formats.values()) == {RowFormat.INT8}
    assert config.precision.default.format == "bf16"
    assert model.weights["mlp.0.weight"] is MODEL.weights["mlp.0.weight"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected format = 1, got None"),
        ("format = 2", "got 2"),
        ("format = 1\nx = 1", "got 'x'"),
        ("format = ", "expected TOML"),
        ("format = " + "9" * 5000, "expected TOML: .*4300 digits"),
        ("format = 1\na = " + "[" * 100_000, "expected TOML: .*recursion"),
        (
            "format = 1\n[layers.formats]\n"
            'l = {format = "int8", activations = [0, 1' + "0" * 400 + "]}",
            "low, high",
        ),
        ('format = 1\n[tables]\ndefault = "int3"', r"got 'int3' - at `plan: tables\.default`"),
        ('format = 1\n[tables.formats]\nt = "int9"', r"tables\.formats\.'t'"),
        ("format = 1\n[tables]\ngreedy = 3", r"tables\.greedy"),
        ('format = 1\n[layers.formats]\nl = "int4"', r"got 'int4'.*layers\.formats\.'l'"),
        ('format = 1\n[layers.formats]\nl = {format = "fp32", outliers = [1]}', "with int8 only"),
        ('format = 1\n[layers.formats]\nl = {format = "int8", outliers = "x"}', "columns"),
        ('format = 1\n[layers.formats]\nl = {format = "int8", activations = [1]}', "low, high"),
        ('format = 1\n[layers.formats]\nl = {format = "int8", scale = 1}', "got 'scale'"),
        ("format = 1\n[layers.formats]\nl = 7", "got 7"),
        ("format = 1\ntables = 3", "expected a table"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_place(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_plan(text)


def test_names_that_the_model_lacks_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"tables\.formats\.'none'"):
        apply(MODEL, PrecisionPlan(tables={"none": RowFormat.INT8}))
    with pytest.raises(ConfigError, match="'none'"):
        apply(MODEL, PrecisionPlan(layers=LayerPlan(layers={"none": LayerPrecision("int8")})))


def test_a_coarser_table_is_never_made_finer_again() -> None:
    coarse, _ = apply(MODEL, uniform(MODEL, "int4", "fp32"))
    again, _ = apply(coarse, uniform(MODEL, "int4", "int8"))
    assert again is coarse
    with pytest.raises(ConfigError, match="quantise the original model"):
        apply(coarse, uniform(MODEL, "fp16", "fp32"))


def test_a_deployment_runs_as_its_plan_says_also_after_an_edit(tmp_path: Path) -> None:
    MODEL.save(tmp_path / "m")
    plan = uniform(MODEL, "int8", "int8")
    plan.save(tmp_path / "precision.toml")
    Deployment(model="m", precision="precision.toml").save(tmp_path / "plan.toml")
    deployment, model = read_deployment(tmp_path / "plan.toml")
    assert deployment.engine.precision == plan.layers
    assert set(model.table_formats.values()) == {RowFormat.INT8}
    text = (tmp_path / "precision.toml").read_text()
    layer = next(iter(plan.layers.layers))
    edited = text.replace(f'"{layer}" = "int8"', f'"{layer}" = "bf16"')
    assert edited != text
    (tmp_path / "precision.toml").write_text(edited)
    deployment, _ = read_deployment(tmp_path / "plan.toml")
    assert deployment.engine.precision.layers[layer].format == "bf16"
    deployment.save(tmp_path / "again.toml")
    assert read_deployment(tmp_path / "again.toml")[0] == deployment
    both = tmp_path / "both.toml"
    both.write_text('model = "m"\nprecision = "precision.toml"\n[engine]\nprecision = "int8"\n')
    with pytest.raises(ConfigError, match="got both"):
        read_deployment(both)


def test_tables_are_listed_once() -> None:
    assert len(tables_of(MODEL)) == len(set(tables_of(MODEL))) == 4
    assert all(np.ndim(MODEL.weights[t]) == 2 for t in tables_of(MODEL))
