"""Random small modules of supported operators import whole and agree with torch."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from recstack.model.importing import coverage, from_torch
from tests.model.importing.cases import assert_agrees

D = 6
Step = Callable[["Random", Tensor], Tensor]

# Functions from (B, n, D) to (B, n', D).
STEPS: list[Step] = [
    lambda m, x: torch.relu(m.linear(x)),
    lambda m, x: m.linear(x.reshape(-1, D)).view(x.shape[0], -1, D),
    lambda m, x: m.norm(x),
    lambda m, x: m.slope(x),
    lambda m, x: m.batch(x.transpose(1, 2)).transpose(1, 2),
    lambda m, x: m.gru(x)[0],
    lambda m, x: torch.cat([x, x.flip(1) * 0.5], dim=1)[:, :6],
    lambda m, x: x - x.mean(dim=1, keepdim=True),
    lambda m, x: x.softmax(dim=m.axis) @ torch.eye(D),
    lambda m, x: torch.bmm(torch.bmm(x, x.transpose(1, 2)).tanh(), x),
    lambda m, x: x.roll(m.k, dims=2) + x.sigmoid(),
    lambda m, x: torch.where(x > 0, x, x.exp() - 1),
    lambda m, x: x.unsqueeze(1).expand(-1, 2, -1, -1).flatten(1, 2)[:, ::2],
    lambda m, x: torch.stack(x.unbind(1)[::-1], dim=1),
    lambda m, x: x.permute(1, 0, 2).contiguous().permute(1, 0, 2).clamp(-2, 2),
    lambda m, x: torch.einsum("bnd,bmd->bnm", x, x).softmax(-1) @ x,
    lambda m, x: x.repeat(1, 2, 1).view(x.shape[0], 2, -1, D).sum(1),
    lambda m, x: nn.functional.normalize(x, dim=-1) * x.abs().amax(dim=(1, 2), keepdim=True),
    lambda m, x: x.masked_fill(x.abs() < 0.1, 0.0).chunk(2, dim=-1)[0].repeat(1, 1, 2),
    lambda m, x: x.transpose(0, 1).reshape(-1, D).mul(2).view(-1, x.shape[0], D).transpose(0, 1),
]


class Random(nn.Module):
    """Fields of one matrix of ids and a dense tensor, through random steps."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        r = random.Random(seed)
        torch.manual_seed(seed)
        self.tables = nn.ModuleList(nn.Embedding(15, D) for _ in range(3))
        self.bag = nn.EmbeddingBag(15, D, mode=r.choice(["sum", "mean"]))
        self.dense = nn.Linear(4, D)
        self.linear, self.norm, self.slope = nn.Linear(D, D), nn.LayerNorm(D), nn.PReLU()
        self.batch, self.gru = nn.BatchNorm1d(D), nn.GRU(D, D, batch_first=True)
        self.k, self.axis = r.randrange(1, 4), r.choice([-1, 1])
        self.numbers = [r.randrange(len(STEPS)) for _ in range(6)]
        self.out = nn.Linear(D, r.randrange(1, 3))
        self.pool = r.choice(["mean", "sum", "last"])

    def forward(self, dense: Tensor, ids: Tensor, history: Tensor) -> Tensor:
        vectors = [t(ids[:, i]) for i, t in enumerate(self.tables)]
        vectors += [self.bag(history), self.dense(dense)]
        x = torch.stack(vectors, dim=1)
        for number in self.numbers:
            x = STEPS[number](self, x)
        pooled = x[:, -1] if self.pool == "last" else getattr(x, self.pool)(dim=1)
        return self.out(pooled)


def inputs(batch: int, seed: int) -> tuple[Tensor, ...]:
    g = torch.Generator().manual_seed(seed)
    return (
        torch.randn(batch, 4, generator=g),
        torch.randint(0, 15, (batch, 3), generator=g),
        torch.randint(0, 15, (batch, 5), generator=g),
    )


@pytest.mark.parametrize("seed", range(40))
def test_random_module(seed: int) -> None:
    module = Random(seed).eval()
    model = from_torch(module, inputs(2, 0))
    assert not coverage(model).opaque, (module.numbers, str(coverage(model)))
    for batch in (1, 2, 9):
        assert_agrees(model, module, inputs(batch, batch), atol=2e-5)
