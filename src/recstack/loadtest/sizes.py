"""Query sizes: how many rows (candidates) each query asks for.

fixed:64              every query the same
lognormal:5.1,0.2     mu, sigma of the logarithm; a third number caps it (1000)
mlperf                MLPerf's trace for DLRM, query by query
mlperf:random         the same twenty sizes, drawn from the run's seed
production            heavy tail: the largest quarter of the queries holds half of the rows
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from recstack.errors import ConfigError

MAX_ROWS = 1000


class Sizes(Protocol):
    """A distribution of query sizes."""

    def sample(self, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """(n,) int64 rows, each >= 1."""
        ...


@dataclass(frozen=True, slots=True)
class Fixed:
    """Every query has `rows` rows.

    >>> Fixed(64).sample(2, np.random.default_rng(0)).tolist()
    [64, 64]
    """

    rows: int

    def __post_init__(self) -> None:
        if self.rows < 1:
            raise ConfigError(f"expected fixed:ROWS with ROWS >= 1, got {self.rows}")

    def sample(self, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """(n,) int64, constant; draws nothing."""
        del rng
        return np.full(n, self.rows, np.int64)


@dataclass(frozen=True, slots=True)
class Lognormal:
    """Lognormal sizes, rounded and clamped to 1..cap.

    DeepRecSys's scripts use (5.1, 0.2): mean 167, p99 261, no heavy tail. Sigma 0.67 gives the
    largest quarter half of the rows.
    """

    mu: float
    sigma: float
    cap: int = MAX_ROWS

    def __post_init__(self) -> None:
        if not (math.isfinite(self.mu) and 0 <= self.sigma < math.inf and self.cap >= 1):
            raise ConfigError(
                "expected lognormal:MU,SIGMA[,CAP] with SIGMA >= 0 and CAP >= 1, "
                f"got {self.mu}, {self.sigma}, {self.cap}"
            )

    def sample(self, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """(n,) int64."""
        return _clamp(np.exp(self.mu + self.sigma * rng.standard_normal(n)), self.cap)


@dataclass(frozen=True, slots=True)
class MLPerf:
    """The twenty equally likely sizes of MLPerf inference's DLRM: mean 270 rows.

    exact: the benchmark's own trace, `np.random.seed(123)` with `randint(0, 20)`, whatever the
        run's seed; otherwise drawn from the run's generator.

    Source: mlcommons/inference, recommendation/dlrm_v2, dist_quantile.txt.

    >>> MLPerf().sample(11, np.random.default_rng(0)).tolist()
    [200, 200, 200, 200, 500, 700, 200, 100, 100, 500, 300]
    """

    exact: bool = True

    def sample(self, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """(n,) int64."""
        if self.exact:
            return _MLPERF[np.random.RandomState(123).randint(0, _MLPERF.size, n)]
        return _MLPERF[rng.integers(0, _MLPERF.size, n)]


_MLPERF = np.array([100] * 2 + [200] * 12 + [300] * 2 + [400, 500, 600, 700], np.int64)


@dataclass(frozen=True, slots=True)
class Production:
    """A stand-in for the production histogram of DeepRecSys, which is not released.

    Keeps what the paper says of it: at most 1000 rows, a tail heavier than lognormal, and half of
    the rows in the largest quarter of the queries. 90% lognormal(4.8, 0.5) and 10% bounded Pareto
    (exponent 0.5, 200..1000); the largest quarter holds 50.0% of the rows, the mean is 168.6, p50
    130, p95 419, p99 793 (computed from the distribution function, not sampled).
    """

    def sample(self, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """(n,) int64."""
        body = np.exp(4.8 + 0.5 * rng.standard_normal(n))
        low, alpha = 200.0, 0.5
        top = 1.0 - (low / MAX_ROWS) ** alpha
        tail = low * (1.0 - top * rng.random(n)) ** (-1.0 / alpha)
        return _clamp(np.where(rng.random(n) < 0.1, tail, body), MAX_ROWS)


def parse(text: str) -> Sizes:
    """The distribution that a command line names; the module's docstring lists the forms.

    Raises
    ------
    ConfigError: says what was expected.

    >>> parse("lognormal:5.1,0.2")
    Lognormal(mu=5.1, sigma=0.2, cap=1000)
    """
    name, _, rest = text.partition(":")
    arguments = [part.strip() for part in rest.split(",")] if rest else []
    try:
        match name.strip(), arguments:
            case "fixed", [rows]:
                return Fixed(int(rows))
            case "lognormal", [mu, sigma]:
                return Lognormal(float(mu), float(sigma))
            case "lognormal", [mu, sigma, cap]:
                return Lognormal(float(mu), float(sigma), int(cap))
            case "mlperf", []:
                return MLPerf()
            case "mlperf", ["random"]:
                return MLPerf(exact=False)
            case "production", []:
                return Production()
    except ValueError as error:
        raise ConfigError(f"expected numbers in sizes {text!r}: {error}") from error
    raise ConfigError(
        "expected sizes fixed:ROWS | lognormal:MU,SIGMA[,CAP] | mlperf | mlperf:random | "
        f"production, got {text!r}"
    )


def _clamp(rows: NDArray[np.float64], cap: int) -> NDArray[np.int64]:
    return np.clip(np.rint(rows), 1, cap).astype(np.int64)
