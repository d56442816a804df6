"""Wide & Deep with two tasks, in plain torch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def layers(width: int, hidden: Sequence[int], dropout: float) -> nn.Sequential:
    """Linear, ReLU and dropout per hidden width."""
    found: list[nn.Module] = []
    for size in hidden:
        found += [nn.Linear(width, size), nn.ReLU(), nn.Dropout(dropout)]
        width = size
    return nn.Sequential(*found)


class MultiTaskWideDeep(nn.Module):
    """A linear model of all features beside shared layers and a tower per task.

    Wide & Deep: Cheng et al., DLRS 2016; shared bottom and towers: Zhao et al., RecSys 2019.
    rows: of each categorical feature's table.
    """

    def __init__(
        self,
        dense: int,
        rows: Sequence[int],
        tasks: int = 2,
        dim: int = 16,
        shared: Sequence[int] = (256, 128),
        tower: Sequence[int] = (64,),
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        self.wide_dense = nn.Linear(dense, tasks)
        self.wide = nn.ModuleList(nn.Embedding(n, tasks) for n in rows)
        self.deep = nn.ModuleList(nn.Embedding(n, dim) for n in rows)
        self.shared = layers(dense + dim * len(rows), shared, dropout)
        self.towers = nn.ModuleList(
            nn.Sequential(layers(shared[-1], tower, dropout), nn.Linear(tower[-1], 1))
            for _ in range(tasks)
        )
        for table in self.wide:
            nn.init.zeros_(table.weight)
        for table in self.deep:
            nn.init.normal_(table.weight, 0.0, 0.05)

    def logits(self, dense: Tensor, features: list[Tensor]) -> Tensor:
        """(B, tasks)."""
        wide = self.wide_dense(dense)
        for table, ids in zip(self.wide, features, strict=True):
            wide = wide + table(ids)
        embedded = [table(ids) for table, ids in zip(self.deep, features, strict=True)]
        hidden = self.shared(torch.cat([dense, *embedded], dim=1))
        return wide + torch.cat([tower(hidden) for tower in self.towers], dim=1)

    def forward(self, dense: Tensor, features: list[Tensor]) -> Tensor:
        """Probabilities (B, tasks); dense (B, W) float32, features (B,) int64 each."""
        return torch.sigmoid(self.logits(dense, features))
