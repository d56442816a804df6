"""Each family of operators in small functions, imported whole and equal to torch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recstack.model.importing import coverage, from_torch
from tests.model.importing.cases import assert_agrees

Function = Callable[[Tensor, Tensor], Tensor]
C = torch.randn(5, generator=torch.Generator().manual_seed(0))
M = torch.randn(4, 5, generator=torch.Generator().manual_seed(1))

# x is (B, 4, 5), y (B, 5).
FUNCTIONS: dict[str, Function] = {
    "view": lambda x, y: x.view(-1, 20) * 2,
    "view-b": lambda x, y: x.view(x.size(0), 2, 10).reshape(x.shape[0], -1),
    "merge": lambda x, y: F.linear(x.reshape(-1, 5), M).view(x.shape[0], 4, 4),
    "merge-relu": lambda x, y: torch.relu(x.flatten(0, 1)).unflatten(0, (-1, 4)),
    "merged-permute": lambda x, y: x.reshape(-1, 5).t().reshape(5, -1, 4).permute(1, 2, 0),
    "merged-before": lambda x, y: (
        F.linear(x.transpose(0, 1).reshape(-1, 5), M).view(4, -1, 4).transpose(0, 1)
    ),
    "permute": lambda x, y: x.permute(2, 0, 1).permute(1, 0, 2) + y.unsqueeze(-1),
    "transpose": lambda x, y: (x.transpose(0, 1) * y).transpose(0, 1),
    "movedim": lambda x, y: torch.movedim(x, 0, 2).movedim((0, 2), (2, 0)),
    "squeeze": lambda x, y: x[:, :1].squeeze(1) + x.unsqueeze(1).squeeze(1)[:, 1],
    "expand": lambda x, y: y[:, None].expand(-1, 4, -1) - x,
    "expand-constant": lambda x, y: C.expand(x.shape[0], 4, 5) * x,
    "repeat": lambda x, y: y.unsqueeze(1).repeat(1, 4, 1) * x.repeat(1, 1, 1),
    "repeat-flat": lambda x, y: y.repeat(1, 4).view(-1, 4, 5) + x,
    "repeat-constant": lambda x, y: torch.cat([C.unsqueeze(0).repeat(y.size(0), 1), y], 1),
    "repeat-interleave": lambda x, y: y.repeat_interleave(2, dim=1),
    "slice": lambda x, y: x[:, 1:3, ::2] * y[:, None, -3:],
    "select": lambda x, y: x[:, -1] + x[:, 0, :] * x[..., 2].sum(1, keepdim=True),
    "split": lambda x, y: sum(x.split([1, 3], dim=1)[1].unbind(1)) - y,  # type: ignore[return-value]
    "chunk": lambda x, y: torch.cat(x.chunk(2, 1)[::-1], dim=1),
    "stack": lambda x, y: torch.stack([y, y * 2, x[:, 0]], dim=2),
    "stack-constant": lambda x, y: torch.stack([y, C.expand_as(y)], dim=1),
    "hstack": lambda x, y: torch.hstack([y, x[:, 1]]),
    "index": lambda x, y: x[:, [0, 2, 2]] * x[:, torch.tensor([True, False, True, True])],
    "index-pairs": lambda x, y: x[:, [0, 1, 3], [4, 0, 2]],
    "index-select": lambda x, y: x.index_select(2, torch.tensor([4, 1])),
    "last-step": lambda x, y: x[torch.arange(x.shape[0]), (y > 0).sum(1) - 2],
    "flip": lambda x, y: x.flip(1) + torch.roll(x, 1, dims=2),
    "arithmetic": lambda x, y: (x + 2 * y[:, None] - C) / (x.abs() + 1) * 0.5,
    "scalars-first": lambda x, y: 1 - y + 2 / (y**2 + 1) + (2.0 ** y.clamp(-1, 1)),
    "in-place": lambda x, y: F.relu_(y * 1).add_(1).mul_(C),
    "alpha": lambda x, y: torch.add(y, x[:, 0], alpha=3) - torch.sub(y, 1, alpha=2),
    "pow": lambda x, y: y.pow(3) + y.square() + (y.abs() + 1).pow(0.5) + y.abs().sqrt(),
    "unary": lambda x, y: y.exp().log() + y.sin() * y.cos() + y.erf() - y.sign() + y.floor(),
    "activations": lambda x, y: F.gelu(y) + F.silu(y) + F.elu(y) + F.softplus(y) + y.tanh(),
    "activations-2": lambda x, y: F.leaky_relu(y, 0.1) + F.relu6(y) + F.hardtanh(y) + F.mish(y),
    "gelu-tanh": lambda x, y: F.gelu(x, approximate="tanh"),
    "log-sigmoid": lambda x, y: F.logsigmoid(y) + torch.log1p(y.abs()),
    "clamp": lambda x, y: y.clamp(min=-0.5, max=0.5) + y.clamp(max=C) + y.clamp_min(0),
    "extremes": lambda x, y: torch.maximum(x, y[:, None]) - torch.min(y, C)[:, None],
    "compare": lambda x, y: (x > y[:, None]).float() + (x <= 0).int() + (y.ne(1))[:, None],
    "where": lambda x, y: torch.where(x > 0, x, y[:, None]) + torch.where(y > 0, 1.0, y)[:, None],
    "masks": lambda x, y: x.masked_fill((x > 1) | ~(x > -1) & (y > 0)[:, None], 7.0),
    "infinite-mask": lambda x, y: F.softmax(x.masked_fill(x > 2, float("-inf")), dim=-1),
    "mask-sum": lambda x, y: (x > 0).sum(dim=1) / (x > 0).float().sum(1).clamp(min=1),
    "any": lambda x, y: (x > 1.5).any(dim=2).float() + (x > -2).all(dim=2).float(),
    "reduce": lambda x, y: x.sum(1) + x.mean(dim=(1,)) + x.amax(1) - x.min(dim=1).values,
    "reduce-more": lambda x, y: x.sum(dim=(1, 2), keepdim=True).squeeze(-1) + x.prod(2),
    "norms": lambda x, y: x.norm(dim=-1) + x.norm(p=1, dim=2) + torch.linalg.vector_norm(x, dim=2),
    "normalise": lambda x, y: F.normalize(x, dim=2) * F.normalize(y, p=1)[:, None],
    "variance": lambda x, y: x.var(dim=1) + x.std(1, unbiased=False),
    "softmax": lambda x, y: x.softmax(1) + F.log_softmax(x, dim=-1) + y.logsumexp(1)[:, None, None],
    "softmax-moved": lambda x, y: x.permute(1, 0, 2).softmax(0).permute(1, 0, 2),
    "cosine": lambda x, y: F.cosine_similarity(x, y[:, None], dim=-1),
    "distance": lambda x, y: F.pairwise_distance(y, x[:, 0]),
    "matmul": lambda x, y: x @ y.unsqueeze(-1),
    "matmul-constant": lambda x, y: (
        (x @ M.t() @ M) + (y @ M.t() @ M @ torch.diag(C) @ C[:, None])[:, None]
    ),
    "matmul-left": lambda x, y: M @ x.transpose(1, 2) @ x,
    "matmul-vector": lambda x, y: x @ C,
    "bmm": lambda x, y: torch.bmm(x, x.transpose(1, 2)),
    "mm": lambda x, y: torch.addmm(C[:4], torch.mm(y, M.t()), M @ M.t(), beta=2, alpha=0.5),
    "einsum": lambda x, y: torch.einsum("bij,bj->bi", x, y),
    "einsum-outer": lambda x, y: torch.einsum("bi,bjk->bkij", y, x),
    "einsum-constant": lambda x, y: torch.einsum("bij,kj,bi->bk", x, M, x[:, :, 0]),
    "einsum-attention": lambda x, y: torch.einsum("bqd,bkd->bqk", x, x).softmax(-1) @ x,
    "sdpa": lambda x, y: F.scaled_dot_product_attention(x, x, x * 2),
    "sdpa-mask": lambda x, y: F.scaled_dot_product_attention(x, x, x, x[:, :1, :4] < 5, scale=0.5),
    "sdpa-causal": lambda x, y: F.scaled_dot_product_attention(x, x, x, is_causal=True),
    "zeros": lambda x, y: torch.zeros(x.size(0), 3).add(y[:, :3]) + y.new_ones(y.size(0), 3),
    "zeros-like": lambda x, y: torch.zeros_like(x) + torch.full_like(y, 2.0)[:, None],
    "triangle": lambda x, y: torch.bmm(x, x.mT).tril(-1) + torch.triu(x @ x.mT),
    "diagonal": lambda x, y: torch.diagonal(x, dim1=1, dim2=2),
    "layer-norm": lambda x, y: F.layer_norm(x, (5,)) + F.layer_norm(x, (4, 5), M, M),
    "rms-norm": lambda x, y: F.rms_norm(x, (5,), C),
    "no-grad": lambda x, y: _without_gradients(y) + y,
    "lerp": lambda x, y: torch.lerp(y, x[:, 0], 0.3) + torch.addcmul(y, y, x[:, 1], value=2),
    "fm": lambda x, y: 0.5 * (x.sum(1) ** 2 - (x**2).sum(1)).sum(1, keepdim=True),
    "constant-fold": lambda x, y: y * (torch.arange(5).float().softmax(0) + M.sum(0)),
}


def _without_gradients(y: Tensor) -> Tensor:
    with torch.no_grad():
        return y * 3


class Wrapped(nn.Module):
    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.function(x, y)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function(name: str) -> None:
    module = Wrapped(FUNCTIONS[name])
    model = from_torch(module, (torch.randn(3, 4, 5), torch.randn(3, 5)))
    assert not coverage(model).opaque, str(coverage(model))
    for batch in (1, 2, 7):
        g = torch.Generator().manual_seed(batch)
        x, y = torch.randn(batch, 4, 5, generator=g), torch.randn(batch, 5, generator=g)
        assert_agrees(model, module, (x, y))


class Layers(nn.Module):
    """Layers that hold state, each on (B, 4, 5)."""

    def __init__(self, layer: nn.Module, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.layer, self.function = layer, function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.layer, x)


LAYERS: dict[str, tuple[Callable[[], nn.Module], Callable[..., Tensor]]] = {
    "prelu": (lambda: nn.PReLU(), lambda f, x: f(x)),
    "prelu-channels": (lambda: nn.PReLU(4), lambda f, x: f(x)),
    "batch-norm-channels": (lambda: nn.BatchNorm1d(4), lambda f, x: f(x)),
    "batch-norm-transposed": (
        lambda: nn.BatchNorm1d(5),
        lambda f, x: f(x.transpose(1, 2)).transpose(1, 2),
    ),
    "layer-norm": (lambda: nn.LayerNorm(5), lambda f, x: f(x)),
    "dropout": (lambda: nn.Dropout(0.9), lambda f, x: f(x)),
    "gru": (lambda: nn.GRU(5, 3, batch_first=True), lambda f, x: f(x)[0]),
    "gru-last": (lambda: nn.GRU(5, 3, batch_first=True), lambda f, x: f(x)[1][-1]),
    "gru-steps-first": (lambda: nn.GRU(5, 3), lambda f, x: f(x.transpose(0, 1))[0].transpose(0, 1)),
    "gru-deep": (
        lambda: nn.GRU(5, 3, num_layers=2, bidirectional=True, batch_first=True),
        lambda f, x: torch.cat([f(x)[0].flatten(1), f(x)[1].permute(1, 0, 2).flatten(1)], 1),
    ),
    "gru-state": (
        lambda: nn.GRU(5, 5, batch_first=True),
        lambda f, x: f(x, x[:, :1].transpose(0, 1))[0],
    ),
    "gru-no-bias": (
        lambda: nn.GRU(5, 3, bias=False, batch_first=True),
        lambda f, x: f(x)[0][:, -1],
    ),
    "gru-cell": (lambda: nn.GRUCell(5, 5), lambda f, x: f(x[:, 0], x[:, 1])),
    "multihead": (
        lambda: nn.MultiheadAttention(5, 1, batch_first=True),
        lambda f, x: f(x, x, x)[0],
    ),
    "multihead-weights": (
        lambda: nn.MultiheadAttention(5, 5),
        lambda f, x: f(*[x.transpose(0, 1)] * 3)[1],
    ),
    "bilinear-parts": (lambda: nn.Linear(5, 5), lambda f, x: (f(x[:, 0]) * x[:, 1]).sum(-1)),
    "transformer": (
        lambda: nn.TransformerEncoderLayer(5, 1, 8, batch_first=True),
        lambda f, x: f(x),
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layer(name: str) -> None:
    make, function = LAYERS[name]
    torch.manual_seed(0)
    module = Layers(make(), function).eval()
    model = from_torch(module, (torch.randn(3, 4, 5),))
    assert not coverage(model).opaque, str(coverage(model))
    for batch in (1, 2, 7):
        assert_agrees(model, module, (torch.randn(batch, 4, 5),))
