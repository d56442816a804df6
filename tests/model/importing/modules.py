"""The models as users write them in torch; written from the papers, not from the zoo."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def mlp(sizes: list[int], last: nn.Module | None = None) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(pairwise(sizes)):
        layers.append(nn.Linear(a, b))
        if i < len(sizes) - 2:
            layers.append(nn.ReLU())
    if last is not None:
        layers.append(last)
    return nn.Sequential(*layers)


class NCF(nn.Module):
    """He 2017: GMF and MLP towers over user and item ids."""

    def __init__(self, users: int = 50, items: int = 40, dim: int = 8) -> None:
        super().__init__()
        self.user_gmf, self.item_gmf = nn.Embedding(users, dim), nn.Embedding(items, dim)
        self.user_mlp, self.item_mlp = nn.Embedding(users, dim), nn.Embedding(items, dim)
        self.mlp = mlp([2 * dim, 16, 8])
        self.out = nn.Linear(dim + 8, 1)
        self.dropout = nn.Dropout(0.2)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        gmf = self.user_gmf(user) * self.item_gmf(item)
        deep = torch.cat([self.user_mlp(user), self.item_mlp(item)], dim=-1)
        deep = self.dropout(F.relu(self.mlp(deep)))
        return torch.sigmoid(self.out(torch.cat((gmf, deep), dim=1))).squeeze(-1)


class DLRM(nn.Module):
    """Naumov 2019, in the style of facebookresearch/dlrm: a bag of offsets for each table."""

    def __init__(
        self,
        tables: int,
        rows: int,
        dim: int,
        dense: int,
        bottom: list[int],
        top: list[int],
        interaction: str = "dot",
    ) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.EmbeddingBag(rows, dim, mode="sum") for _ in range(tables))
        self.bottom = mlp([dense, *bottom, dim], nn.ReLU())
        n = tables + 1
        width = n * dim if interaction == "cat" else dim + n * (n - 1) // 2
        self.top = mlp([width, *top, 1], nn.Sigmoid())
        self.interaction = interaction

    def interact(self, x: Tensor, bags: list[Tensor]) -> Tensor:
        if self.interaction == "cat":
            return torch.cat([x, *bags], dim=1)
        batch, d = x.shape
        t = torch.cat([x, *bags], dim=1).view((batch, -1, d))
        z = torch.bmm(t, torch.transpose(t, 1, 2))
        _, ni, nj = z.shape
        li = torch.tensor([i for i in range(ni) for j in range(i)])
        lj = torch.tensor([j for i in range(nj) for j in range(i)])
        return torch.cat([x, z[:, li, lj]], dim=1)

    def forward(self, dense: Tensor, offsets: list[Tensor], indices: list[Tensor]) -> Tensor:
        x = self.bottom(dense)
        bags = [e(i, o) for e, i, o in zip(self.tables, indices, offsets, strict=True)]
        return self.top(self.interact(x, bags))


class TrilDLRM(nn.Module):
    """DLRM with multi-hot matrices and tril_indices."""

    def __init__(self, tables: int = 3, rows: int = 30, dim: int = 8) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.EmbeddingBag(rows, dim, mode="mean") for _ in range(tables))
        self.bottom = mlp([5, 16, dim])
        n = tables + 1
        self.register_buffer("tril", torch.tril_indices(n, n, offset=-1))
        self.top = mlp([dim + n * (n - 1) // 2, 16, 1])

    def forward(self, dense: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        x = F.relu(self.bottom(dense))
        vectors = [x] + [t(i) for t, i in zip(self.tables, (a, b, c), strict=True)]
        stacked = torch.stack(vectors, dim=1)
        products = stacked @ stacked.mT
        flat = products[:, self.tril[0], self.tril[1]]
        return self.top(torch.hstack((x, flat))).sigmoid()


class WideAndDeep(nn.Module):
    """Cheng 2016: a linear part over one-hot ids, and a deep part."""

    def __init__(self, fields: int = 6, rows: int = 20, dim: int = 4, dense: int = 5) -> None:
        super().__init__()
        self.wide = nn.ModuleList(nn.Embedding(rows, 1) for _ in range(fields))
        self.deep = nn.ModuleList(nn.Embedding(rows, dim) for _ in range(fields))
        self.wide_dense = nn.Linear(dense, 1)
        self.bn = nn.BatchNorm1d(fields * dim + dense)
        self.mlp = mlp([fields * dim + dense, 16, 8, 1])

    def forward(self, dense: Tensor, sparse: Tensor) -> Tensor:
        wide = self.wide_dense(dense)
        for i, table in enumerate(self.wide):
            wide = wide + table(sparse[:, i])
        deep = [table(sparse[:, i]) for i, table in enumerate(self.deep)]
        deep_in = self.bn(torch.cat([*deep, dense], dim=1))
        return torch.sigmoid(wide + self.mlp(deep_in))


class MultiTask(nn.Module):
    """Zhao 2019: shared bottom, a tower and a sigmoid for each task; returns a tuple."""

    def __init__(self, tasks: int = 3, fields: int = 4, rows: int = 20, dim: int = 4) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.EmbeddingBag(rows, dim) for _ in range(fields))
        self.shared = mlp([fields * dim + 3, 16, 12], nn.ReLU())
        self.towers = nn.ModuleList(mlp([12, 6, 1]) for _ in range(tasks))

    def forward(self, dense: Tensor, sparse: Tensor) -> tuple[Tensor, ...]:
        bags = [t(sparse[:, i : i + 1]) for i, t in enumerate(self.tables)]
        h = self.shared(torch.cat([dense, *bags], -1))
        return tuple(torch.sigmoid(t(h)) for t in self.towers)


class Dice(nn.Module):
    """Zhou 2018, eq. 3."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm1d(n, eps=1e-8, affine=False)
        self.alpha = nn.Parameter(torch.rand(n))

    def forward(self, x: Tensor) -> Tensor:
        p = torch.sigmoid(self.bn(x))
        return self.alpha * (1 - p) * x + p * x


class DIN(nn.Module):
    """Zhou 2018: attention over the history with a mask; 0 pads it."""

    def __init__(
        self,
        items: int = 40,
        dim: int = 6,
        length: int = 5,
        softmax: bool = False,
        flat: bool = False,
    ) -> None:
        super().__init__()
        self.item = nn.Embedding(items, dim, padding_idx=0)
        self.user = nn.Embedding(10, dim)
        self.att1, self.att2 = nn.Linear(4 * dim, 8), nn.Linear(8, 1)
        self.act = nn.PReLU() if not flat else Dice(8)
        self.fc1, self.dice, self.fc2 = nn.Linear(3 * dim, 12), Dice(12), nn.Linear(12, 1)
        self.softmax, self.flat = softmax, flat

    def attention(self, query: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        b, n, d = keys.shape
        q = query.unsqueeze(1).expand(-1, n, -1)
        x = torch.cat([q, keys, q - keys, q * keys], dim=-1)
        if self.flat:
            h = self.act(self.att1(x.view(b * n, 4 * d)))
            scores = self.att2(h).view(b, n)
        else:
            scores = self.att2(self.act(self.att1(x))).squeeze(-1)
        if self.softmax:
            scores = torch.softmax(scores.masked_fill(~mask, -1e9), dim=1)
        else:
            scores = scores * mask.float()
        return torch.bmm(scores.unsqueeze(1), keys).squeeze(1)

    def forward(self, user: Tensor, history: Tensor, candidate: Tensor) -> Tensor:
        keys, query = self.item(history), self.item(candidate)
        pooled = self.attention(query, keys, history > 0)
        x = torch.cat([self.user(user), pooled, query], dim=1)
        return torch.sigmoid(self.fc2(self.dice(self.fc1(x))))


class AUGRUCell(nn.Module):
    """Zhou 2019, eq. 16: the attention score scales the update gate."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.reset = nn.Linear(width + hidden, hidden)
        self.update = nn.Linear(width + hidden, hidden)
        self.new = nn.Linear(width + hidden, hidden)

    def forward(self, x: Tensor, h: Tensor, score: Tensor) -> Tensor:
        both = torch.cat([x, h], dim=1)
        r, u = torch.sigmoid(self.reset(both)), torch.sigmoid(self.update(both))
        n = torch.tanh(self.new(torch.cat([x, r * h], dim=1)))
        u = score.view(-1, 1) * u
        return (1 - u) * h + u * n


class DIEN(nn.Module):
    """Zhou 2019: GRU for interests, attention, then AUGRU for their evolution."""

    def __init__(self, items: int = 40, dim: int = 6, hidden: int = 6, cells: bool = False) -> None:
        super().__init__()
        self.item = nn.Embedding(items, dim)
        self.gru = nn.GRU(dim, hidden, batch_first=True)
        self.cell = nn.GRUCell(dim, hidden)
        self.query = nn.Linear(dim, hidden, bias=False)
        self.augru = AUGRUCell(hidden, hidden)
        self.fc = mlp([hidden + 2 * dim, 12, 2])
        self.hidden, self.cells = hidden, cells

    def interests(self, x: Tensor) -> Tensor:
        if not self.cells:
            return self.gru(x)[0]
        h, states = x.new_zeros(x.size(0), self.hidden), []
        for t in range(x.size(1)):
            h = self.cell(x[:, t, :], h)
            states.append(h)
        return torch.stack(states, dim=1)

    def forward(self, history: Tensor, candidate: Tensor, profile: Tensor) -> Tensor:
        query = self.item(candidate)
        states = self.interests(self.item(history))
        mask = history != 0
        logits = torch.einsum("blh,bh->bl", states, self.query(query))
        scores = F.softmax(logits.masked_fill(mask.logical_not(), -(2.0**31)), dim=-1)
        h = torch.zeros(states.size(0), self.hidden)
        for t, state in enumerate(states.unbind(1)):
            h = self.augru(state, h, scores[:, t])
        return F.softmax(self.fc(torch.cat([h, query, self.item(profile)], -1)), dim=1)


class DCNv2(nn.Module):
    """Wang 2021: low-rank cross layers in parallel with a deep part."""

    def __init__(self, fields: int = 4, rows: int = 25, dim: int = 4, rank: int = 3) -> None:
        super().__init__()
        n = fields * dim + 3
        self.register_buffer("offsets", torch.arange(fields) * rows)
        self.table = nn.Embedding(fields * rows, dim)
        self.v = nn.ModuleList(nn.Linear(n, rank, bias=False) for _ in range(3))
        self.u = nn.ModuleList(nn.Linear(rank, n) for _ in range(3))
        self.deep = mlp([n, 16, 8], nn.ReLU())
        self.out = nn.Linear(n + 8, 1)

    def forward(self, dense: Tensor, sparse: Tensor) -> Tensor:
        x0 = torch.cat([self.table(sparse + self.offsets).flatten(1), dense], dim=1)
        x = x0
        for v, u in zip(self.v, self.u, strict=True):
            x = x0 * u(v(x)) + x
        return self.out(torch.cat([x, self.deep(x0)], dim=1)).sigmoid()


class DeepFM(nn.Module):
    """Guo 2017 in the style of torchfm: one shared table, field offsets, square of sum."""

    def __init__(self, field_dims: tuple[int, ...] = (5, 9, 4, 12), dim: int = 6) -> None:
        super().__init__()
        starts = torch.tensor([0, *field_dims]).cumsum(0)[:-1]
        self.register_buffer("offsets", starts)
        self.embedding = nn.Embedding(sum(field_dims), dim)
        self.fc = nn.Embedding(sum(field_dims), 1)
        self.bias = nn.Parameter(torch.zeros((1,)))
        n = len(field_dims) * dim
        self.mlp = nn.Sequential(
            nn.Linear(n, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.offsets.unsqueeze(0)
        e = self.embedding(x)
        linear = torch.sum(self.fc(x), dim=1) + self.bias
        fm = torch.sum(e, dim=1) ** 2 - torch.sum(e**2, dim=1)
        fm = 0.5 * torch.sum(fm, dim=1, keepdim=True)
        y = linear + fm + self.mlp(e.view(e.size(0), -1))
        return torch.sigmoid(y.squeeze(1))


class TwoTower(nn.Module):
    """Normalised towers and their dot product over a temperature."""

    def __init__(self, dim: int = 8) -> None:
        super().__init__()
        self.user, self.item = nn.Embedding(30, dim), nn.Embedding(60, dim, padding_idx=0)
        self.user_tower = nn.Sequential(nn.Linear(dim + 3, 16), nn.GELU(), nn.Linear(16, dim))
        self.item_tower = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, 16), nn.SiLU(), nn.Linear(16, dim)
        )
        self.temperature = nn.Parameter(torch.tensor(0.07))

    def forward(self, user: Tensor, context: Tensor, history: Tensor, item: Tensor) -> Tensor:
        e, mask = self.item(history), (history != 0).unsqueeze(-1).float()
        past = (e * mask).sum(1) / mask.sum(1).clamp(min=1.0)
        u = self.user_tower(torch.cat([self.user(user) + past, context], dim=-1))
        u = F.normalize(u, p=2, dim=-1)
        v = F.normalize(self.item_tower(self.item(item)), dim=-1)
        return (u * v).sum(dim=-1) / self.temperature
