"""Operators without a translation run in torch, and the coverage table says so."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recstack.errors import ModelError
from recstack.model import load
from recstack.model.importing import coverage, from_torch, run_opaque
from recstack.model.ops import Opaque
from tests.model.importing.cases import Inputs, assert_agrees

FUNCTIONS: dict[str, tuple[str, Callable[[Tensor], Tensor]]] = {
    "cumsum": ("aten.cumsum.default", lambda x: torch.cumsum(x, dim=1)),
    "sort": ("aten.sort.default", lambda x: torch.sort(x, dim=1, descending=True).values),
    "topk": ("aten.topk.default", lambda x: torch.topk(x, k=2, dim=-1)[0]),
    "indices": ("aten.topk.default", lambda x: torch.topk(x, 2).indices.float()),
    "fft": ("aten.fft_rfft.default", lambda x: torch.fft.rfft(x).abs()),
    "transposed": ("aten.cumprod.default", lambda x: torch.cumprod(x.t(), dim=0).t()),
    "merged": (
        "aten.cumsum.default",
        lambda x: torch.cumsum(x.view(x.shape[0] * 2, 3), 1).view(x.shape[0], 6),
    ),
    "infinite": ("aten.threshold.default", lambda x: F.threshold(x, float("-inf"), 3.0)),
    "constant": (
        "aten.searchsorted.Tensor",
        lambda x: torch.searchsorted(torch.tensor([-1.0, 0.0, 1.0]), x.contiguous()).float(),
    ),
    "gather": (
        "aten.argmax.default",
        lambda x: torch.gather(x, 1, x.argmax(dim=1, keepdim=True)),
    ),
    "rows": (
        "aten.index.Tensor",
        lambda x: x.view(-1, 2, 3)[torch.arange(x.shape[0]), x.argmax(1) // 3, x.argmax(1) % 3],
    ),
}


class Odd(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 6), nn.LazyLinear(3)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        y = self.function(self.first(x))
        return self.last(y.reshape(x.shape[0], -1))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_opaque_op_agrees_and_is_named(name: str, tmp_path: object) -> None:
    target, function = FUNCTIONS[name]
    module = Odd(function)
    module(torch.randn(2, 4))
    model = from_torch(module, (torch.randn(3, 4),))
    lines = coverage(model).opaque
    assert target in {line.operator for line in lines}
    line = next(line for line in lines if line.operator == target)
    assert "test_opaque.py:" in line.source
    assert line.reason
    assert target in str(coverage(model))
    for batch in (1, 2, 9):
        inputs: Inputs = (torch.randn(batch, 4),)
        assert_agrees(model, module, inputs)
    model.save(f"{tmp_path}/model")
    again = load(f"{tmp_path}/model")
    assert coverage(again).opaque[0].source
    assert_agrees(again, module, (torch.randn(5, 4),))


def opaque(target: str, **fields: object) -> Opaque:
    return Opaque(output="y", inputs=("x",), target=target, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "target",
    [
        "aten.nothing.default",
        "aten.cumsum",
        "aten.cumsum.__class__",
        "aten.cumsum.name",
        "os.system",
    ],
)
def test_only_aten_operators_run(target: str) -> None:
    op = opaque(target, arguments=({"input": 0}, 1), entry_shape=(3,))
    with pytest.raises(ModelError, match="aten namespace"):
        run_opaque(op, [np.zeros((2, 3), np.float32)], {}, 2)


def test_failures_say_what_and_where() -> None:
    x = [np.zeros((2, 3), np.float32)]
    op = opaque("aten.cumsum.default", arguments=({"input": 0}, 5), entry_shape=(3,), source="a:1")
    with pytest.raises(ModelError, match=r"torch cannot run aten.cumsum.default.*a:1"):
        run_opaque(op, x, {}, 2)
    op = opaque("aten.cumsum.default", arguments=({"input": 0}, 1), entry_shape=(4,))
    with pytest.raises(ModelError, match="expected shape"):
        run_opaque(op, x, {}, 2)
    op = opaque("aten.to.dtype", arguments=({"input": 0}, {"dtype": "load"}), entry_shape=(3,))
    with pytest.raises(ModelError, match="name of a dtype"):
        run_opaque(op, x, {}, 2)
