"""Wide & Deep, NCF and DIN in plain torch; forward() takes tensors, returns probabilities (B, 1).

Index 0 of the user and movie tables is the shared unknown id. A ragged feature is a pair (values
(nnz,) int64, offsets (B,) int64), as nn.EmbeddingBag reads it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn


def mlp(width: int, hidden: Sequence[int], dropout: float) -> nn.Sequential:
    """Linear, ReLU, dropout per hidden width, then a linear layer with one output."""
    layers: list[nn.Module] = []
    for size in hidden:
        layers += [nn.Linear(width, size), nn.ReLU(), nn.Dropout(dropout)]
        width = size
    return nn.Sequential(*layers, nn.Linear(width, 1))


def start_small(tables: Sequence[nn.Embedding | nn.EmbeddingBag], scale: float) -> None:
    for table in tables:
        nn.init.normal_(table.weight, 0.0, scale)


class WideDeep(nn.Module):
    """Wide & Deep (Cheng et al., DLRS 2016): a linear model of everything beside an MLP."""

    def __init__(
        self,
        user_dense: int,
        dense: int,
        rows: Mapping[str, int],
        dim: int = 8,
        hidden: Sequence[int] = (256, 64),
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.wide_dense = nn.Linear(user_dense + dense, 1)
        self.wide_user = nn.Embedding(rows["user"], 1)
        self.wide_movie = nn.Embedding(rows["movie"], 1)
        self.wide_year = nn.Embedding(rows["year"], 1)
        self.wide_genres = nn.EmbeddingBag(rows["genres"], 1, mode="sum")
        self.wide_cross = nn.EmbeddingBag(rows["user_x_genre"], 1, mode="sum")
        self.user = nn.Embedding(rows["user"], dim)
        self.movie = nn.Embedding(rows["movie"], dim)
        self.genres = nn.EmbeddingBag(rows["genres"], dim, mode="sum")
        self.deep = mlp(user_dense + dense + 3 * dim, hidden, dropout)
        wide = (self.wide_user, self.wide_movie, self.wide_year, self.wide_genres, self.wide_cross)
        start_small(wide, 0.0)
        start_small((self.user, self.movie, self.genres), 0.05)

    def logits(
        self,
        user_dense: Tensor,
        dense: Tensor,
        user: Tensor,
        movie: Tensor,
        year: Tensor,
        genre_values: Tensor,
        genre_offsets: Tensor,
        cross_values: Tensor,
        cross_offsets: Tensor,
    ) -> Tensor:
        numbers = torch.cat([user_dense, dense], dim=1)
        wide = (
            self.wide_dense(numbers)
            + self.wide_user(user)
            + self.wide_movie(movie)
            + self.wide_year(year)
            + self.wide_genres(genre_values, genre_offsets)
            + self.wide_cross(cross_values, cross_offsets)
        )
        genres = self.genres(genre_values, genre_offsets)
        embedded = [self.user(user), self.movie(movie), genres]
        return wide + self.deep(torch.cat([numbers, *embedded], dim=1))

    def forward(
        self,
        user_dense: Tensor,
        dense: Tensor,
        user: Tensor,
        movie: Tensor,
        year: Tensor,
        genre_values: Tensor,
        genre_offsets: Tensor,
        cross_values: Tensor,
        cross_offsets: Tensor,
    ) -> Tensor:
        """user_dense (B, Wu), dense (B, W) float32; user, movie, year (B,) int64; two bags."""
        return torch.sigmoid(
            self.logits(
                user_dense, dense, user, movie, year,
                genre_values, genre_offsets, cross_values, cross_offsets,
            )
        )  # fmt: skip


class NCF(nn.Module):
    """Neural collaborative filtering (He et al., WWW 2017): GMF beside an MLP; ids alone."""

    def __init__(
        self,
        rows: Mapping[str, int],
        dim: int = 8,
        hidden: Sequence[int] = (64, 32),
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        self.mf_user = nn.Embedding(rows["user"], dim)
        self.mf_movie = nn.Embedding(rows["movie"], dim)
        self.mlp_user = nn.Embedding(rows["user"], dim)
        self.mlp_movie = nn.Embedding(rows["movie"], dim)
        layers: list[nn.Module] = []
        width = 2 * dim
        for size in hidden:
            layers += [nn.Linear(width, size), nn.ReLU(), nn.Dropout(dropout)]
            width = size
        self.mlp = nn.Sequential(*layers)
        self.predict = nn.Linear(dim + width, 1)
        start_small((self.mf_user, self.mf_movie, self.mlp_user, self.mlp_movie), 0.1)

    def logits(self, user: Tensor, movie: Tensor) -> Tensor:
        product = self.mf_user(user) * self.mf_movie(movie)
        hidden = self.mlp(torch.cat([self.mlp_user(user), self.mlp_movie(movie)], dim=1))
        return self.predict(torch.cat([product, hidden], dim=1))

    def forward(self, user: Tensor, movie: Tensor) -> Tensor:
        """user, movie: (B,) int64."""
        return torch.sigmoid(self.logits(user, movie))


class DIN(nn.Module):
    """Deep Interest Network (Zhou et al., KDD 2018): likes weighted by their bearing on the movie.

    The history shares the movie's table; the weights are not normalised. Padding is index 0. A
    linear path carries the dense features past the MLP.
    """

    def __init__(
        self,
        user_dense: int,
        dense: int,
        rows: Mapping[str, int],
        dim: int = 8,
        attention: int = 16,
        hidden: Sequence[int] = (256, 64),
        dropout: float = 0.5,
        interest_dropout: float = 0.7,
    ) -> None:
        super().__init__()
        self.user = nn.Embedding(rows["user"], dim)
        self.movie = nn.Embedding(rows["movie"], dim)
        self.year = nn.Embedding(rows["year"], dim)
        self.genres = nn.EmbeddingBag(rows["genres"], dim, mode="sum")
        self.attention = nn.Sequential(
            nn.Linear(4 * dim, attention), nn.PReLU(), nn.Linear(attention, 1), nn.Sigmoid()
        )
        self.interest_dropout = nn.Dropout(interest_dropout)
        self.linear = nn.Linear(user_dense + dense, 1)
        self.deep = mlp(user_dense + dense + 5 * dim, hidden, dropout)
        start_small((self.user, self.movie, self.year, self.genres), 0.02)

    def logits(
        self,
        user_dense: Tensor,
        dense: Tensor,
        user: Tensor,
        history: Tensor,
        movie: Tensor,
        year: Tensor,
        genre_values: Tensor,
        genre_offsets: Tensor,
    ) -> Tensor:
        candidate = self.movie(movie)
        keys = self.movie(history)
        query = candidate.unsqueeze(1).expand_as(keys)
        weight = self.attention(torch.cat([query, keys, query - keys, query * keys], dim=2))
        mask = (history != 0).unsqueeze(2).to(keys.dtype)
        interest = self.interest_dropout((weight * mask * keys).sum(dim=1))
        genres = self.genres(genre_values, genre_offsets)
        embedded = [self.user(user), interest, candidate, self.year(year), genres]
        numbers = torch.cat([user_dense, dense], dim=1)
        return self.linear(numbers) + self.deep(torch.cat([numbers, *embedded], dim=1))

    def forward(
        self,
        user_dense: Tensor,
        dense: Tensor,
        user: Tensor,
        history: Tensor,
        movie: Tensor,
        year: Tensor,
        genre_values: Tensor,
        genre_offsets: Tensor,
    ) -> Tensor:
        """As WideDeep, without crosses; history (B, L) int64, 0 behind the last like."""
        return torch.sigmoid(
            self.logits(
                user_dense, dense, user, history, movie, year, genre_values, genre_offsets
            )
        )  # fmt: skip
