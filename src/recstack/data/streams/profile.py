"""What is kept of a recorded stream: a few histograms, no index."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from recstack.data.streams.measure import octaves, reuse_intervals
from recstack.errors import DataError

STEPS = 2  # buckets of intervals per octave


class Profile(BaseModel):
    """A stream's reuse; JSON on disk.

    origin: what it was fitted to.
    counts: (how often a row comes, how many rows do), ascending.
    intervals: for rows that come 2^(k-1) + 1 to 2^k times, k = 1, 2, ...: how many of their
        intervals in lookups are at least 2^(j / 2) and under 2^((j + 1) / 2), j = 0, 1, ...
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    origin: str
    counts: tuple[tuple[int, int], ...] = Field(min_length=1)
    intervals: tuple[tuple[int, ...], ...]

    @property
    def rows(self) -> int:
        """Different rows."""
        return sum(rows for _, rows in self.counts)

    @property
    def lookups(self) -> int:
        """Lookups in all."""
        return sum(count * rows for count, rows in self.counts)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if any(count < 1 or rows < 1 for count, rows in self.counts):
            raise ValueError("expected counts of at least one row that comes at least once")
        if len({count for count, _ in self.counts}) != len(self.counts):
            raise ValueError("expected every count once")
        if self.lookups > 1 << 30:
            raise ValueError(f"expected at most 2^30 lookups, got {self.lookups}")
        if any(n < 0 for row in self.intervals for n in row) or any(
            len(row) > 60 * STEPS for row in self.intervals
        ):
            raise ValueError("expected at most 120 buckets of intervals, none below 0")
        for k in {int(octaves(np.array([c]))[0]) for c, _ in self.counts} - {0}:
            if k > len(self.intervals) or not sum(self.intervals[k - 1]):
                raise ValueError(f"expected intervals of rows that come up to {2**k} times")
        return self


def fit(stream: NDArray[np.int64], origin: str) -> Profile:
    """The profile of a recorded stream.

    stream: (n,) integer indices, n >= 1, in the order of the lookups.

    >>> fit(np.array([7, 9, 7, 7]), "an example").counts
    ((1, 1), (3, 1))
    """
    counts, rows = np.unique(np.unique(stream, return_counts=True)[1], return_counts=True)
    again = reuse_intervals(stream)
    octave = octaves(again.counts)
    bucket = (STEPS * np.log2(again.lookups)).astype(np.int64)
    return Profile(
        origin=origin,
        counts=tuple(zip(counts.tolist(), rows.tolist(), strict=True)),
        intervals=tuple(
            tuple(np.bincount(bucket[octave == k]).tolist())
            for k in range(1, int(octave.max(initial=0)) + 1)
        ),
    )


def load_profile(path: Path) -> Profile:
    """The profile in a JSON file. Raises DataError naming file and place."""
    try:
        return Profile.model_validate_json(path.read_bytes())
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{path}: {first['msg']} - at `{place}`") from None
