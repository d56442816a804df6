"""MovieLens as a click-through problem: will this user rate this movie 4 stars or more?

Every feature of a rating is computed from strictly earlier ratings, so that neither the future nor
ratings with the same timestamp (one page of the site, rated at once) leak into it.

    data = load("ratings.csv.gz", "movies.csv.gz")
    train, valid, test = split(data)
    features = Features(data, train_until=data.time[valid[0]])
    rows = features.of(data.user[test], data.movie[test], data.time[test])
    batch = rows.batch(("user", "movie", "year", "genres"))     # labels: data.liked[test]

Data: F. M. Harper and J. A. Konstan, The MovieLens Datasets: History and Context, ACM TiiS 5(4):19,
2015.
"""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recstack.batch import Batch, DenseInput, Input, SparseInput, pack_lengths
from recstack.errors import ConfigError, DataError
from recstack.types import Query

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bags = tuple[Ints, NDArray[np.int32]]  # values (nnz,), lengths (rows,)

LIKED = 8  # half stars: a rating of 4 or more is a like
HISTORY = 20
YEAR_BUCKETS = 26  # 0 is unknown; then five years each, from 1895
# A column's name, centre and scale; stars are half stars, "over" is a mean excess over the mean
# rating of the same user or movie, pauses and ages are log1p(seconds), log1p(years).
USER_DENSE = (
    ("like rate", 0.5, 0.2), ("stars", 7.0, 1.0), ("stars over movie's", 0.0, 1.0),
    ("log ratings", 4.5, 1.5), ("spread of stars", 2.0, 0.4),
    ("like rate, last 20", 0.5, 0.2), ("stars, last 20", 7.0, 1.0), ("over, last 20", 0.0, 1.0),
    ("like rate, last 5", 0.5, 0.2), ("pause", 3.0, 3.0), ("tenure", 10.0, 5.0),
)  # fmt: skip
DENSE = (
    ("like rate", 0.5, 0.2), ("stars", 7.0, 0.7), ("stars over user's", 0.0, 0.7),
    ("log ratings", 2.5, 1.5), ("over, last 20", 0.0, 0.7), ("age", 2.0, 1.0),
    ("genre's like rate", 0.5, 0.1), ("genre's stars over user's", 0.0, 0.2),
    ("user's genre like rate less like rate", 0.0, 0.05), ("user's genre over user's", 0.0, 0.4),
    ("user's genre over movie's", 0.0, 0.6), ("log user's genre ratings", 2.5, 1.5),
    ("user's period like rate less like rate", 0.0, 0.1), ("user's period over user's", 0.0, 0.5),
    ("user's period over movie's", 0.0, 0.7), ("log user's period ratings", 2.0, 1.5),
)  # fmt: skip
PRIOR = 5.0  # weight, in ratings, of the prior of each smoothed mean
SPARSE = {
    item.name: item
    for item in (
        SparseInput(name="user", scope="user", fixed=True),
        SparseInput(name="history", scope="user", length=HISTORY),
        SparseInput(name="movie", fixed=True),
        SparseInput(name="year", fixed=True),
        SparseInput(name="genres", length=3),
        SparseInput(name="user_x_genre", length=3),
    )
}
FIXED = 1024  # fixed-point units per half star of the OVER_ columns
SECONDS_PER_YEAR = 31_556_952
COUNT, LIKES, STARS, SQUARES, OVER_USER, OVER_MOVIE = range(6)


@dataclass(frozen=True, slots=True, eq=False)
class MovieLens:
    """The files as read-only arrays, ratings by time (ties in file order).

    user, movie: (ratings,) int64, positions in `users` and `movies`. half_stars: (ratings,) int64,
    1..10. time: (ratings,) int64, seconds since 1970. year: (movies,) int64, 0 where the title has
    none. genres: (movies, genre names) bool. users, movies: int64, the files' ids, ascending.
    """

    user: Ints
    movie: Ints
    half_stars: Ints
    time: Ints
    year: Ints
    genres: NDArray[np.bool_]
    genre_names: tuple[str, ...]
    users: Ints
    movies: Ints

    @property
    def liked(self) -> NDArray[np.bool_]:
        """The label, (ratings,) bool: 4 stars or more."""
        return self.half_stars >= LIKED


def load(ratings: str | Path, movies: str | Path) -> MovieLens:
    """Read `ratings.csv` and `movies.csv`, plain or gzipped (a name ending in .gz).

    Raises DataError, naming file and line, on a malformed line, and on a rating of a movie that
    `movies` lacks.
    """
    ratings, movies = Path(ratings), Path(movies)
    about: dict[int, tuple[int, list[str]]] = {}
    for line, row in _lines(movies, ("movieId", "title", "genres")):
        if (movie := _integer(row[0], "movieId", movies, line)) in about:
            raise DataError(f"{movies}:{line}: expected each movieId once, got {movie} again")
        year = re.search(r"\((\d{4})\D?(?:\d{4})?\)\s*$", row[1])
        genres = [] if row[2] == "(no genres listed)" else row[2].split("|")
        about[movie] = (int(year[1]) if year else 0, genres)
    found: list[tuple[int, int, int, int]] = []
    for line, row in _lines(ratings, ("userId", "movieId", "rating", "timestamp")):
        if (movie := _integer(row[1], "movieId", ratings, line)) not in about:
            raise DataError(f"{ratings}:{line}: expected a movieId of {movies.name}, got {movie}")
        if not re.fullmatch(r"(0\.5|[1-4](\.[05])?|5(\.0)?)", row[2]):
            raise DataError(f"{ratings}:{line}: expected a rating of 0.5, 1, .. 5, got {row[2]!r}")
        user = _integer(row[0], "userId", ratings, line)
        time = _integer(row[3], "timestamp", ratings, line)
        found.append((user, movie, round(2 * float(row[2])), time))
    if not found:
        raise DataError(f"{ratings}:2: expected ratings, got none")
    table = np.array(found, np.int64)
    table = table[np.argsort(table[:, 3], kind="stable")]
    users, positions = np.unique(table[:, 0], return_inverse=True)
    known = np.array(sorted(about), np.int64)
    names = tuple(sorted({g for _, genres in about.values() for g in genres}))
    return MovieLens(
        user=_frozen(positions),
        movie=_frozen(np.searchsorted(known, table[:, 1])),
        half_stars=_frozen(table[:, 2]),
        time=_frozen(table[:, 3]),
        year=_frozen(np.array([about[m][0] for m in known.tolist()], np.int64)),
        genres=_frozen(np.array([[g in about[m][1] for g in names] for m in known.tolist()], bool)),
        genre_names=names,
        users=_frozen(users),
        movies=_frozen(known),
    )


def _lines(path: Path, header: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """(line number, fields) of each line below the header."""
    opener: Any = gzip.open if path.suffix == ".gz" else open
    line = 0
    try:
        with opener(path, "rt", encoding="utf-8", newline="") as file:
            reader = csv.reader(file, strict=True)
            for row in reader:
                first, line = line == 0, reader.line_num
                if len(row) != len(header):
                    raise DataError(f"{path}:{line}: expected {len(header)} fields, got {len(row)}")
                if not first:
                    yield line, row
                elif row != list(header):
                    raise DataError(f"{path}:{line}: expected {list(header)}, got {row}")
    except (csv.Error, OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise DataError(f"{path}:{line + 1}: {error}") from error


def _integer(text: str, name: str, path: Path, line: int) -> int:
    if not re.fullmatch(r"[0-9]{1,10}", text) or int(text) >= 1 << 32:
        raise DataError(f"{path}:{line}: expected {name} in [0, 2^32), got {text!r}")
    return int(text)


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    array = np.ascontiguousarray(array)
    array.flags.writeable = False
    return array


def split(data: MovieLens, at: tuple[float, float] = (0.8, 0.9)) -> tuple[Ints, Ints, Ints]:
    """Positions of the training, validation and test ratings: int64, by time, one after another.

    at: the quantiles of the timestamps where validation and test begin; equal timestamps stay
    together. Raises ConfigError where a part would be empty.
    """
    valid, test = np.quantile(data.time, at, method="higher")
    first, last = np.searchsorted(data.time, [valid, test])
    if not 0 < first < last < len(data.time):
        raise ConfigError(f"expected quantiles that leave no part empty, got {at}")
    every = np.arange(len(data.time))
    return every[:first], every[first:last], every[last:]


class Past:
    """Running sums per key; answers only about strictly earlier events.

    key: (events,) int64 below 2^31. time: (events,) int64 below 2^32. values: (events, columns)
    int64: integers, so that a later event cannot change an earlier sum by rounding.

    >>> past = Past(np.array([7, 7, 7]), np.array([1, 2, 2]), np.array([[10], [20], [40]]))
    >>> past.sums(np.array([7, 7, 8]), np.array([2, 3, 3])).tolist()
    [[10.0], [70.0], [0.0]]
    """

    def __init__(self, key: Ints, time: Ints, values: Ints) -> None:
        self.order = np.argsort(key << 32 | time, kind="stable")
        self._at = (key << 32 | time)[self.order]
        self._sums = np.concatenate(
            [np.zeros((1, values.shape[1]), np.int64), values[self.order].cumsum(axis=0)]
        )

    def span(self, key: Ints, time: Ints, last: int | None = None) -> tuple[Ints, Ints]:
        """First and last + 1 position in `order` of the events of `key` before `time`."""
        end = np.searchsorted(self._at, key << 32 | time)
        first = np.searchsorted(self._at, key << 32)
        return first if last is None else np.maximum(first, end - last), end

    def sums(self, key: Ints, time: Ints, last: int | None = None) -> Floats:
        """(requests, columns) float64: sums over the events, or the `last` ones, before `time`."""
        first, end = self.span(key, time, last)
        return np.asarray(self._sums[end] - self._sums[first], np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Features of R rows, read-only, user-scope ones repeated on every row.

    user_dense: (R, len(USER_DENSE)) float32. dense: (R, len(DENSE)) float32.
    sparse: name, as in SPARSE -> (values (nnz,) int64, lengths (R,) int32). Index 0 means unknown.
    """

    user_dense: NDArray[np.float32]
    dense: NDArray[np.float32]
    sparse: Mapping[str, Bags]

    def inputs(self, names: Sequence[str]) -> tuple[Input, ...]:
        """A model's inputs: user_dense, dense, then the named sparse features."""
        return (
            DenseInput(name="user_dense", width=len(USER_DENSE), scope="user"),
            DenseInput(name="dense", width=len(DENSE)),
            *(SPARSE[name] for name in names),
        )

    def batch(self, names: Sequence[str], query_offsets: NDArray[np.int32] | None = None) -> Batch:
        """The rows as a Batch of `inputs(names)`, by default one query per row.

        query_offsets: (Q + 1,) int32; the rows of a query must be of one user and time, and none
        may be empty.
        """
        n = len(self.dense)
        offsets = np.arange(n + 1, dtype=np.int32) if query_offsets is None else query_offsets
        heads, one_each = offsets[:-1].astype(np.int64), query_offsets is None
        bags = [
            self.sparse[name]
            if SPARSE[name].scope == "item" or one_each
            else _take(self.sparse[name], heads)
            for name in names
        ]
        values = [v for v, _ in bags] or [np.zeros(0, np.int64)]
        return Batch(
            dense=self.dense,
            user_dense=self.user_dense if one_each else self.user_dense[heads],
            values=np.concatenate(values),
            lengths=pack_lengths(self.inputs(names), [lengths for _, lengths in bags]),
            query_offsets=offsets,
        )

    def take(self, rows: Ints) -> Rows:
        """The rows at these positions, in this order; copies."""
        sparse = {name: _take(bags, rows) for name, bags in self.sparse.items()}
        return Rows(self.user_dense[rows], self.dense[rows], MappingProxyType(sparse))

    def padded(self, name: str, length: int = HISTORY) -> Ints:
        """A ragged feature as (R, length) int64, filled with 0 behind each bag's last index."""
        values, lengths = self.sparse[name]
        out = np.zeros((len(lengths), length), np.int64)
        out[np.arange(length) < lengths[:, None]] = values
        return out


def _take(bags: Bags, rows: Ints) -> Bags:
    values, lengths = bags
    starts = np.cumsum(lengths, dtype=np.int64) - lengths
    return values[_ranges(starts[rows], lengths[rows])], lengths[rows]


def _ranges(first: Ints, lengths: NDArray[Any]) -> Ints:
    """first[0], first[0] + 1, ... lengths[0] times, then the same of first[1], ..."""
    shift = np.repeat(first - (np.cumsum(lengths) - lengths), lengths)
    return np.asarray(shift + np.arange(len(shift)), np.int64)


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
                self._liked_movies[_ranges(first, end - first)],
                (end - first).astype("i4"),
            ),
            "movie": (self._movie_index[movie], one),
            "year": (self._year[movie], one),
            "genres": (genre, sizes),
            "user_x_genre": (users[row] * bag.shape[1] + genre, sizes),
        }
        return Rows(
            user_dense=_frozen(self._user_dense(user, time)),
            dense=_frozen(self._dense(user, movie, time)),
            sparse=MappingProxyType({k: (_frozen(v), _frozen(n)) for k, (v, n) in sparse.items()}),
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
