"""Exported programs and `.pt2` files import as their modules do."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch

from recstack.errors import ModelError
from recstack.model.importing import coverage, from_exported
from recstack.model.importing.examples import Examples
from recstack.model.importing.export import export
from recstack.model.importing.signature import arguments_of
from tests.model.importing.cases import CASES, assert_agrees, seeded


@pytest.mark.parametrize("name", ["rm1", "din", "wnd"])
def test_program_and_file(name: str, tmp_path: Path) -> None:
    make, inputs = CASES[name]
    module = seeded(make)
    example = inputs(3, torch.Generator().manual_seed(0))
    program = export(module, Examples(module, arguments_of(module, example))).program
    model = from_exported(program)
    assert not coverage(model).opaque
    for batch in (1, 7):
        assert_agrees(model, module, inputs(batch, torch.Generator().manual_seed(batch)))
    path = tmp_path / f"{name}.pt2"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(program, path)
    again = from_exported(path, user_inputs=[model.arguments[0].name])
    assert again.name == name
    assert again.inputs[0].scope == "user"
    assert_agrees(again, module, inputs(5, torch.Generator().manual_seed(5)))


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"torch cannot load it.*nothing\.pt2"):
        from_exported(tmp_path / "nothing.pt2")
    with pytest.raises(ModelError, match="expected an ExportedProgram, got int"):
        from_exported(3)
    fixed = torch.export.export(torch.nn.Linear(3, 2), (torch.randn(4, 3),))
    with pytest.raises(ModelError, match="batch size is open"):
        from_exported(fixed)
