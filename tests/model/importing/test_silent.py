"""Small modules that could import and score wrongly without a word: none does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import recstack as rs
from recstack.errors import ModelError
from recstack.model.importing import batch_from_inputs, coverage, from_torch
from tests.model.importing.cases import torch_scores

pytestmark = pytest.mark.filterwarnings("ignore:torch runs")


class Small(nn.Module):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.table, self.few = nn.Embedding(20, 4), nn.Embedding(9, 4)
        self.function = function

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(self, *inputs)


def counts(n: int, g: torch.Generator) -> Any:
    return (torch.randint(-5, 50, (n, 4), generator=g),)


def numbers(n: int, g: torch.Generator) -> Any:
    return (3 * torch.randn(n, 6, generator=g),)


def mixed(n: int, g: torch.Generator) -> Any:
    parts = torch.randint(0, 20, (n, 3), generator=g), torch.randint(-5, 9, (n, 3), generator=g)
    return (torch.cat(parts, 1),)


def masked(n: int, g: torch.Generator) -> Any:
    mask = torch.rand(n, 5, generator=g) > 0.4
    return torch.randn(n, 5, 4, generator=g), mask | (torch.arange(5) == 0)


def history(n: int, g: torch.Generator) -> Any:
    return torch.randint(0, 20, (n, 5), generator=g), torch.randint(1, 6, (n,), generator=g)


STEPS = torch.arange(5)
CASES: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "clamped counts": (lambda s, x: torch.log1p(x.clamp(min=0).float()), counts),
    "clamped after a shift": (lambda s, x: (x - 3).clamp(min=0).float() + 1, counts),
    "constant minus counts": (lambda s, x: (5 - x).float(), counts),
    "counts over batch": (lambda s, x: (x // 3).float() + x / 7, counts),
    "truncated numbers": (lambda s, x: x.long().float() * 2, numbers),
    "truncated computed": (lambda s, x: (x * 2).int() + 0.5, numbers),
    "numbers to bool": (lambda s, x: x.int().bool().float() + torch.logical_not(x.int()), numbers),
    "positions of extremes": (lambda s, x: x.max(1)[0] + x.max(1)[1], numbers),
    "limited by a position": (lambda s, x: torch.clamp(x.sum(1), max=x.min(1)[1]), numbers),
    "triangle of infinities": (
        lambda s, x: torch.triu(x.view(-1, 2, 3).masked_fill(x.view(-1, 2, 3) > 0, -torch.inf)),
        numbers,
    ),
    "counts beside ids": (
        lambda s, x: s.table(x[:, :3]).sum(1) + torch.log1p(x[:, 3:4].clamp(min=0).float()),
        mixed,
    ),
    "signs beside ids": (lambda s, x: s.table(x[:, :3]).sum(1) + (x[:, 3:4] > 0).float(), mixed),
    "mask as an input": (
        lambda s, x, m: F.scaled_dot_product_attention(x, x, x, attn_mask=m[:, None]).sum(1),
        masked,
    ),
    "sums of truth": (lambda s, x, m: (m + (x[..., 0] > 0)).float() + (m * m).int(), masked),
    "logic of numbers": (
        lambda s, x, m: torch.logical_and(m, x[..., 0]).float() + torch.logical_xor(x[..., 1], m),
        masked,
    ),
    "positions from lengths": (
        lambda s, h, n: (s.table(h) + s.few((n[:, None] - STEPS).clamp(min=0))).sum(1),
        history,
    ),
    "masked ids": (
        lambda s, h, n: s.table(h * (h > 10)) + s.table(h.masked_fill(n[:, None] <= STEPS, 0)),
        history,
    ),
    "chosen ids": (lambda s, h, n: s.table(torch.where(h > 10, h, 3)), history),
    "last by gather": (
        lambda s, h, n: s.table(h).gather(1, (n - 1).view(-1, 1, 1).expand(-1, -1, 4)),
        history,
    ),
    "remainders of ids": (lambda s, h, n: s.few(h % 9), history),
    "rows of the weight": (lambda s, h, n: s.table.weight[h] + s.few.weight[:, 0][n][:, None, None],
                           history),
}  # fmt: skip


def flat(out: Any, rows: int) -> np.ndarray:
    return out.detach().float().numpy().reshape(rows, -1)


@pytest.mark.parametrize("name", CASES)
def test_scores_as_torch_does(name: str) -> None:
    torch.manual_seed(0)
    function, inputs = CASES[name]
    module = Small(function).eval()
    model = from_torch(module, inputs(2, torch.Generator().manual_seed(0)))
    if name == "triangle of infinities":  # what must not appear is NaN
        want = module(*inputs(7, torch.Generator().manual_seed(7)))
        assert torch.isinf(want).any()
    engine = rs.compile(model)
    for rows in (1, 2, 7, 64):
        given = inputs(rows, torch.Generator().manual_seed(rows))
        want = flat(module(*given), rows)
        batch = batch_from_inputs(model, given)
        for got in (engine.run(batch), rs.reference(model, batch)):
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_integers_that_float32_does_not_hold_are_refused() -> None:
    module = Small(lambda s, h, n: s.table((h * 1_000_003 + 17) % 20)).eval()
    given = history(3, torch.Generator().manual_seed(0))
    model = from_torch(module, given)
    with pytest.raises(ModelError, match=r"integers below 16777216.*test_silent"):
        rs.reference(model, batch_from_inputs(model, given))


def test_infinities_pass_between_native_stages_and_torch() -> None:
    def function(s: Small, h: Tensor, n: Tensor) -> Tensor:
        scores = s.table(h).sum(-1).masked_fill(h == 0, -torch.inf)
        return torch.softmax(scores + scores.detach().sort(1)[0].amax(1, keepdim=True), 1)

    module = Small(function).eval()
    given = history(9, torch.Generator().manual_seed(0))
    given[0][:, 0], given[0][:, 1] = 0, 5
    model = from_torch(module, given)
    assert coverage(model).opaque
    engine = rs.compile(model)
    want = torch_scores(module, given)
    np.testing.assert_allclose(engine.run(batch_from_inputs(model, given)), want, rtol=1e-5)


def test_strided_inputs() -> None:
    module = Small(lambda s, x, h: torch.cat([x, s.table(h).flatten(1)], 1)).eval()
    given = torch.randn(6, 7).t(), torch.randint(0, 20, (7, 10))[:, ::2]
    model = from_torch(module, given)
    got = rs.compile(model).run(batch_from_inputs(model, given))
    np.testing.assert_allclose(got, torch_scores(module, given), rtol=1e-6)
