"""Neural collaborative filtering in plain torch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class NeuMF(nn.Module):
    """Generalised matrix factorisation beside an MLP (He et al., WWW 2017, section 3.4).

    users, items: rows of the tables. gmf, dim: widths of the two branches' vectors.
    """

    def __init__(
        self,
        users: int,
        items: int,
        gmf: int = 32,
        dim: int = 32,
        hidden: Sequence[int] = (128, 64, 32),
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.gmf_user, self.gmf_item = nn.Embedding(users, gmf), nn.Embedding(items, gmf)
        self.mlp_user, self.mlp_item = nn.Embedding(users, dim), nn.Embedding(items, dim)
        layers: list[nn.Module] = []
        width = 2 * dim
        for size in hidden:
            layers += [nn.Linear(width, size), nn.ReLU(), nn.Dropout(dropout)]
            width = size
        self.mlp = nn.Sequential(*layers)
        self.gmf_dropout, self.mlp_dropout = nn.Dropout(dropout), nn.Dropout(dropout)
        self.predict = nn.Linear(gmf + width, 1)
        for table in (self.gmf_user, self.gmf_item, self.mlp_user, self.mlp_item):
            nn.init.normal_(table.weight, 0.0, 0.05)

    def logits(self, user: Tensor, item: Tensor) -> Tensor:
        product = self.gmf_dropout(self.gmf_user(user) * self.gmf_item(item))
        joined = torch.cat([self.mlp_user(user), self.mlp_item(item)], dim=1)
        hidden = self.mlp(self.mlp_dropout(joined))
        return self.predict(torch.cat([product, hidden], dim=1))

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        """Probabilities (B, 1); user, item (B,) int64."""
        return torch.sigmoid(self.logits(user, item))
