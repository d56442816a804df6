from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recstack.engine import EngineConfig
from recstack.errors import ConfigError, ModelFileError
from recstack.model import zoo
from recstack.precision.plan import uniform
from recstack.tune import read_deployment
from recstack.tune.quantise.deploy import deploy

MODEL = zoo.build("rm1", rows_scale=1e-5)


class Killed(BaseException):
    """Stands for the end of the process."""


def write(out: Path, table: str, layer: str) -> None:
    plan = uniform(MODEL, table, layer)
    deploy(out, MODEL, plan, notes={}, engine=EngineConfig(), reference=None)


def deployed(out: Path) -> tuple[str, str]:
    deployment, model = read_deployment(out / "plan.toml")
    formats = {*model.table_formats.values()}
    layers = {p.format for p in deployment.engine.precision.layers.values()}
    (table,), (layer,) = formats, layers
    return str(table), layer


def dying_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kill whoever changes more than so many names of files."""
    left = iter(range(steps))

    def counted(real: Callable[..., None]) -> Callable[..., None]:
        def step(*arguments: Any, **more: Any) -> None:
            if next(left, None) is None:
                raise Killed
            real(*arguments, **more)

        return step

    for name in ("rename", "replace", "unlink"):
        monkeypatch.setattr(os, name, counted(getattr(os, name)))


def test_a_crash_leaves_the_old_deployment_the_new_one_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, steps = set(), 0
    while "whole" not in found:
        out = tmp_path / str(steps)
        out.mkdir()
        write(out, "int8", "bf16")
        with monkeypatch.context() as patched:
            dying_after(steps, patched)
            try:
                write(out, "int4", "fp16")
                found.add("whole")
            except Killed:
                steps += 1
        try:
            found.add(deployed(out))
        except ConfigError:
            assert not (out / "plan.toml").exists()
            found.add("none")
    assert found == {("int8", "bf16"), "none", ("int4", "fp16"), "whole"}


def test_another_folder_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "thesis.tex").touch()
    (tmp_path / "plan.toml").write_text("of a model elsewhere")
    with pytest.raises(ModelFileError, match="got another folder"):
        write(tmp_path, "int8", "bf16")
    assert (tmp_path / "model" / "thesis.tex").exists()
    assert {p.name for p in tmp_path.iterdir()} == {"model", "plan.toml"}
    assert (tmp_path / "plan.toml").read_text() == "of a model elsewhere"
