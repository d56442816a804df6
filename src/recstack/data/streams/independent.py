"""Streams whose lookups know nothing of each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recstack.data.streams.stream import spread
from recstack.errors import ConfigError

ZIPF_EXPONENT = 1.05


@dataclass(frozen=True, slots=True)
class Uniform:
    """Every row alike.

    >>> Uniform().draw(10, 3, np.random.default_rng(0)).tolist()
    [8, 6, 5]
    """

    def draw(self, limit: int, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """(count,) int64."""
        return rng.integers(0, limit, count)


@dataclass(frozen=True, slots=True)
class Zipf:
    """Popularity falls with the rank to the power of `exponent`; popular rows lie all over."""

    exponent: float = ZIPF_EXPONENT

    def __post_init__(self) -> None:
        if not 0.0 < self.exponent <= 10.0:
            raise ConfigError(f"expected zipf:S with 0 < S <= 10, got {self.exponent}")

    def draw(self, limit: int, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """(count,) int64."""
        return spread(self.ranks(limit, count, rng), limit)

    def ranks(self, limit: int, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Ranks 0 <= rank < limit, their density about (rank + 1) ** -exponent.

        Inverse of the bounded Pareto distribution on [1, limit + 1), rounded down: no table of
        limit probabilities is needed.
        """
        u = rng.random(count)
        power = 1.0 - self.exponent
        if abs(power) < 1e-9:
            x = float(limit + 1) ** u
        else:
            x = (1.0 - u * (1.0 - float(limit + 1) ** power)) ** (1.0 / power)
        return np.minimum(x.astype(np.int64), limit) - 1
