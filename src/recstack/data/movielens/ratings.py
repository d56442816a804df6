"""The files of MovieLens as arrays, and their split by time."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recstack.data.lines import lines
from recstack.data.rows import frozen
from recstack.errors import ConfigError, DataError

Ints = NDArray[np.int64]

LIKED = 8  # half stars: a rating of 4 or more is a like


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
        user=frozen(positions),
        movie=frozen(np.searchsorted(known, table[:, 1])),
        half_stars=frozen(table[:, 2]),
        time=frozen(table[:, 3]),
        year=frozen(np.array([about[m][0] for m in known.tolist()], np.int64)),
        genres=frozen(np.array([[g in about[m][1] for g in names] for m in known.tolist()], bool)),
        genre_names=names,
        users=frozen(users),
        movies=frozen(known),
    )


def _lines(path: Path, header: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """(line number, fields) of each line below the header."""
    reader = csv.reader((text for _, text in lines(path)), strict=True)
    try:
        for row in reader:
            if len(row) != len(header):
                raise DataError(
                    f"{path}:{reader.line_num}: expected {len(header)} fields, got {len(row)}"
                )
            if reader.line_num > 1:
                yield reader.line_num, row
            elif row != list(header):
                raise DataError(f"{path}:1: expected {list(header)}, got {row}")
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: {error}") from error


def _integer(text: str, name: str, path: Path, line: int) -> int:
    if not re.fullmatch(r"[0-9]{1,10}", text) or int(text) >= 1 << 32:
        raise DataError(f"{path}:{line}: expected {name} in [0, 2^32), got {text!r}")
    return int(text)


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
