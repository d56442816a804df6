"""Causal features of any (user, movie, time), and serving queries made of them."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from recstack.data.movielens.past import Past
from recstack.data.movielens.ratings import MovieLens
from recstack.data.movielens.schema import DENSE, HISTORY, SCHEMA, USER_DENSE
from recstack.data.rows import Bags, Rows, frozen
from recstack.data.slices import ranges
from recstack.errors import ConfigError
from recstack.types import Query

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

YEAR_BUCKETS = 26  # 0 is unknown; then five years each, from 1895
PRIOR = 5.0  # weight, in ratings, of the prior of each smoothed mean
FIXED = 1024  # fixed-point units per half star of the OVER_ columns
SECONDS_PER_YEAR = 31_556_952
COUNT, LIKES, STARS, SQUARES, OVER_USER, OVER_MOVIE = range(6)


class Features:
    """Causal features of any (user, movie, time).

    train_until: seconds since 1970; a user or movie without a rating before it has index 0.
    """

    def __init__(self, data: MovieLens, train_until: int) -> None:
        self.data, self.train_until = data, int(train_until)
        period = np.clip((data.year - 1895) // 5 + 1, 1, YEAR_BUCKETS - 1)
        self._year = np.where(data.year > 0, period, 0)
        self._user_index, self._movie_index = (
            _indices(key[data.time < train_until], len(ids))
            for key, ids in ((data.user, data.users), (data.movie, data.movies))
        )
        stars, one = data.half_stars, np.ones_like(data.half_stars)
        values = np.stack([one, one * data.liked, stars, stars**2], axis=1)
        over = [
            np.rint(
                FIXED * (stars - _mean(Past(k, data.time, values).sums(k, data.time), STARS, 7))
            )
            for k in (data.user, data.movie)
        ]
        values = np.column_stack([values, *over]).astype(np.int64)
        rating, genre = np.nonzero(data.genres[data.movie])
        self._users = Past(data.user, data.time, values)
        self._movies = Past(data.movie, data.time, values)
        self._genres = Past(genre, data.time[rating], values[rating])
        self._user_genres = Past(
            data.user[rating] * len(data.genre_names) + genre, data.time[rating], values[rating]
        )
        self._user_periods = Past(
            data.user * YEAR_BUCKETS + self._year[data.movie], data.time, values
        )
        kept = np.flatnonzero(data.liked & (self._movie_index[data.movie] > 0))
        self._likes = Past(data.user[kept], data.time[kept], values[kept])
        self._liked_movies = self._movie_index[data.movie[kept]][self._likes.order]

    @property
    def table_rows(self) -> dict[str, int]:
        """Rows of the table that each sparse feature looks up."""
        users, movies = (int(i.max()) + 1 for i in (self._user_index, self._movie_index))
        genres = len(self.data.genre_names)
        return {
            "user": users, "history": movies, "movie": movies, "year": YEAR_BUCKETS,
            "genres": genres, "user_x_genre": users * genres,
        }  # fmt: skip

    def of(self, user: Ints, movie: Ints, time: Ints) -> Rows:
        """Features of R requests.

        user, movie: (R,) int64, positions in the data's `users` and `movies`. time: (R,) int64,
        seconds since 1970. Only ratings strictly before each row's time count. The history holds
        the user's last likes, oldest first, of movies that the training period knows.
        """
        one = np.ones(len(user), np.int32)
        users, bag = self._user_index[user], self.data.genres[movie]
        row, genre = np.nonzero(bag)
        first, end = self._likes.span(user, time, HISTORY)
        sizes = bag.sum(axis=1, dtype=np.int32)
        sparse: dict[str, Bags] = {
            "user": (users, one),
            "history": (
                self._liked_movies[ranges(first, end - first)],
                (end - first).astype("i4"),
            ),
            "movie": (self._movie_index[movie], one),
            "year": (self._year[movie], one),
            "genres": (genre, sizes),
            "user_x_genre": (users[row] * bag.shape[1] + genre, sizes),
        }
        return Rows(
            schema=SCHEMA,
            user_dense=frozen(self._user_dense(user, time)),
            dense=frozen(self._dense(user, movie, time)),
            sparse=MappingProxyType({k: (frozen(v), frozen(n)) for k, (v, n) in sparse.items()}),
        )

    def _user_dense(self, user: Ints, time: Ints) -> NDArray[np.float32]:
        past, last20, last5 = (self._users.sums(user, time, last) for last in (None, 20, 5))
        stars = _mean(past, STARS, 7)
        first, end = self._users.span(user, time)
        times = self.data.time[self._users.order]
        latest = np.where(end > first, times[end - 1], time)
        earliest = np.where(end > first, times[np.minimum(first, len(times) - 1)], time)
        columns = (
            _mean(past, LIKES, 0.5), stars, _mean(past, OVER_MOVIE) / FIXED,
            np.log1p(past[:, COUNT]), np.sqrt(np.maximum(_mean(past, SQUARES, 53) - stars**2, 0)),
            _mean(last20, LIKES, 0.5), _mean(last20, STARS, 7), _mean(last20, OVER_MOVIE) / FIXED,
            _mean(last5, LIKES, 0.5), np.log1p(time - latest), np.log1p(time - earliest),
        )  # fmt: skip
        return _scaled(USER_DENSE, columns)

    def _dense(self, user: Ints, movie: Ints, time: Ints) -> NDArray[np.float32]:
        past, last20 = (self._movies.sums(movie, time, last) for last in (None, 20))
        like_rate = _mean(self._users.sums(user, time), LIKES, 0.5)
        year = self.data.year[movie]
        age = np.where(year > 0, 1970 + time / SECONDS_PER_YEAR - year, 7)
        row, genre = np.nonzero(self.data.genres[movie])
        key = user[row] * len(self.data.genre_names) + genre
        everyone, own = self._genres.sums(genre, time[row]), self._user_genres.sums(key, time[row])
        period = self._user_periods.sums(user * YEAR_BUCKETS + self._year[movie], time)
        genres = np.maximum(np.bincount(row, minlength=len(user)), 1)

        def mean_of_genres(x: Floats) -> Floats:
            return np.asarray(np.bincount(row, x, minlength=len(user)) / genres)

        columns = (
            _mean(past, LIKES, 0.5), _mean(past, STARS, 7), _mean(past, OVER_USER) / FIXED,
            np.log1p(past[:, COUNT]), _mean(last20, OVER_USER) / FIXED,
            np.log1p(np.maximum(age, 0)), mean_of_genres(_mean(everyone, LIKES, 0.5)),
            mean_of_genres(_mean(everyone, OVER_USER) / FIXED),
            mean_of_genres(_mean(own, LIKES, like_rate[row]) - like_rate[row]),
            mean_of_genres(_mean(own, OVER_USER) / FIXED),
            mean_of_genres(_mean(own, OVER_MOVIE) / FIXED),
            mean_of_genres(np.log1p(own[:, COUNT])), _mean(period, LIKES, like_rate) - like_rate,
            _mean(period, OVER_USER) / FIXED, _mean(period, OVER_MOVIE) / FIXED,
            np.log1p(period[:, COUNT]),
        )  # fmt: skip
        return _scaled(DENSE, columns)


def _mean(sums: Floats, column: int, prior: Floats | float = 0.0) -> Floats:
    """Smoothed mean of a column: as if PRIOR more ratings had the prior's value."""
    return np.asarray((sums[:, column] + PRIOR * prior) / (sums[:, COUNT] + PRIOR))


def _scaled(
    columns: Sequence[tuple[str, float, float]], values: Sequence[Floats]
) -> NDArray[np.float32]:
    scaled = [(v - c) / scale for v, (_, c, scale) in zip(values, columns, strict=True)]
    return np.stack(scaled, axis=1).astype(np.float32)


def _indices(seen: Ints, size: int) -> Ints:
    """(size,) int64: 1, 2, ... for the positions in `seen`, ascending, and 0 for the others."""
    index = np.zeros(size, np.int64)
    found = np.unique(seen)
    index[found] = np.arange(1, len(found) + 1)
    return index


def queries(
    features: Features, names: Sequence[str], count: int, rows: int | Sequence[int], seed: int
) -> list[Query]:
    """Serving queries at the end of the training period: one user, N movies they have not rated.

    names: the sparse features of the model. rows: N, or the values to draw N from. Users are drawn
    evenly from those with a rating by then, candidates without replacement in proportion to their
    ratings so far. Raises ConfigError where N exceeds the movies rated so far.
    """
    rng = np.random.default_rng(seed)
    data, at = features.data, features.train_until
    seen = data.time < at
    popularity = np.bincount(data.movie[seen], minlength=len(data.movies)).astype(np.float64)
    users = np.unique(data.user[seen])
    out = []
    for number in range(count):
        user = int(rng.choice(users))
        n = int(rng.choice(rows)) if isinstance(rows, Sequence) else rows
        weight = popularity.copy()
        weight[data.movie[seen & (data.user == user)]] = 0
        if not 0 < n <= np.count_nonzero(weight):
            raise ConfigError(f"expected 1..{np.count_nonzero(weight)} candidates, got {n}")
        movies = rng.choice(len(weight), n, replace=False, p=weight / weight.sum())
        found = features.of(np.full(n, user), movies, np.full(n, at))
        out.append(Query(number, found.batch(names, np.array([0, n], np.int32))))
    return out
