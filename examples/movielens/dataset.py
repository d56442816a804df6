"""The bundled ratings as training, validation and test sets, and their tensors for each model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from recstack.data import movielens

HERE = Path(__file__).parent
PARTS = ("train", "valid", "test")


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Rows of one part of the split. labels: (R,) float32. users: (R,) int64, data.user."""

    rows: movielens.Rows
    labels: np.ndarray
    users: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """The three parts by name, and the features they came from."""

    features: movielens.Features
    parts: dict[str, Part]

    @property
    def shape(self) -> dict[str, object]:
        """The arguments of a model's constructor that the data decide."""
        return {
            "user_dense": len(movielens.USER_DENSE),
            "dense": len(movielens.DENSE),
            "rows": self.features.table_rows,
        }


@cache
def read(folder: Path = HERE / "data") -> Dataset:
    data = movielens.load(folder / "ratings.csv.gz", folder / "movies.csv.gz")
    parts = movielens.split(data)
    features = movielens.Features(data, train_until=int(data.time[parts[1][0]]))
    return Dataset(
        features,
        {
            name: Part(
                features.of(data.user[at], data.movie[at], data.time[at]),
                data.liked[at].astype(np.float32),
                data.user[at],
            )
            for name, at in zip(PARTS, parts, strict=True)
        },
    )


def hide_ids(rows: movielens.Rows, user: np.ndarray, movie: np.ndarray) -> movielens.Rows:
    """The rows with unknown ids where `user`, `movie`, (R,) bool, are set: trains index 0."""
    users, ones = rows.sparse["user"]
    movies, _ = rows.sparse["movie"]
    cross, lengths = rows.sparse["user_x_genre"]
    genres, _ = rows.sparse["genres"]
    return rows.with_bags(
        user=(np.where(user, 0, users), ones),
        movie=(np.where(movie, 0, movies), ones),
        user_x_genre=(np.where(np.repeat(user, lengths), genres, cross), lengths),
    )


def tensors(rows: movielens.Rows, model: str) -> tuple[Tensor, ...]:
    """The arguments of the forward() of `model`, "wnd", "ncf" or "din"; copies."""

    def ids(name: str) -> Tensor:
        return torch.tensor(rows.sparse[name][0])

    def bag(name: str) -> tuple[Tensor, Tensor]:
        values, lengths = rows.sparse[name]
        return torch.tensor(values), torch.tensor(np.cumsum(lengths, dtype=np.int64) - lengths)

    if model == "ncf":
        return ids("user"), ids("movie")
    dense = torch.tensor(rows.user_dense), torch.tensor(rows.dense)
    item = ids("movie"), ids("year"), *bag("genres")
    if model == "din":
        return *dense, ids("user"), torch.tensor(rows.padded("history")), *item
    return *dense, ids("user"), *item, *bag("user_x_genre")
