"""Query sizes: how many rows (candidates) each query asks for.

fixed:64              every query the same
normal:165,16         mean, standard deviation; a third number caps it (1000)
lognormal:5.1,0.2     mu, sigma of the logarithm; a third number caps it (1000)
mlperf                MLPerf's trace for DLRM, query by query
mlperf:random         the same twenty sizes, drawn from the run's seed
production            heavy tail: the largest quarter of the queries holds half of the rows
file:PATH             recorded sizes, one per line, in order and over and over
file:PATH,random      the same sizes, drawn from the run's seed
recycled:32,FORM      compatibility: 32 sizes of another form, over and over, as DeepRecSys's
                      released generator has them (harvard-acc/DeepRecSys, loadGenerator.py)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from recstack.errors import ConfigError, DataError
from recstack.files import read_numbers

MAX_ROWS = 1000
FORMS = (
    "fixed:ROWS | normal:MEAN,SD[,CAP] | lognormal:MU,SIGMA[,CAP] | mlperf | mlperf:random | "
    "production | file:PATH[,random] | recycled:COUNT,FORM"
)


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
class Normal:
    """Normal sizes, rounded and clamped to 1..cap.

    >>> Normal(165.0, 16.0).sample(2, np.random.default_rng(0)).tolist()
    [167, 163]
    """

    mean: float
    sd: float
    cap: int = MAX_ROWS

    def __post_init__(self) -> None:
        if not (math.isfinite(self.mean) and 0 <= self.sd < math.inf and self.cap >= 1):
            raise ConfigError(
                "expected normal:MEAN,SD[,CAP] with SD >= 0 and CAP >= 1, "
                f"got {self.mean}, {self.sd}, {self.cap}"
            )

    def sample(self, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """(n,) int64."""
        return _clamp(self.mean + self.sd * rng.standard_normal(n), self.cap)


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


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """Sizes (m,) int64 as recorded, over and over; or drawn from them.

    >>> Recorded(np.array([3, 5])).sample(3, np.random.default_rng(0)).tolist()
    [3, 5, 3]
    """

    rows: NDArray[np.int64]
    drawn: bool = False

    def __post_init__(self) -> None:
        if not self.rows.size or self.rows.min() < 1:
            raise DataError(f"expected sizes >= 1, at least one, got {self.rows.size}")

    def sample(self, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """(n,) int64."""
        m = self.rows.size
        return self.rows[rng.integers(0, m, n) if self.drawn else np.arange(n) % m]


@dataclass(frozen=True, slots=True)
class Recycled:
    """`count` sizes of another distribution, over and over.

    Compatibility with DeepRecSys's released generator, which draws 32 sizes per run: its inputs
    stay in caches and its largest query is one of 32. Only for comparing with such figures.
    """

    count: int
    form: Sizes

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ConfigError(f"expected recycled:COUNT,FORM with COUNT >= 1, got {self.count}")

    def sample(self, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """(n,) int64."""
        return Recorded(self.form.sample(self.count, rng)).sample(n, rng)


def parse(text: str) -> Sizes:
    """The distribution that a command line names; the module's docstring lists the forms.

    Raises
    ------
    ConfigError: says what was expected.

    >>> parse("lognormal:5.1,0.2")
    Lognormal(mu=5.1, sigma=0.2, cap=1000)
    """
    name, _, rest = text.partition(":")
    if name == "recycled" and "," in rest:
        count, _, form = rest.partition(",")
        if not count.strip().isdigit():
            raise ConfigError(f"expected recycled:COUNT,FORM, got {text!r}")
        return Recycled(int(count), parse(form))
    if name == "file" and rest:
        path = rest.removesuffix(",random")
        return Recorded(_read(Path(path)), drawn=path != rest)
    arguments = [part.strip() for part in rest.split(",")] if rest else []
    try:
        match name.strip(), arguments:
            case "fixed", [rows]:
                return Fixed(int(rows))
            case "normal", [mean, sd]:
                return Normal(float(mean), float(sd))
            case "normal", [mean, sd, cap]:
                return Normal(float(mean), float(sd), int(cap))
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
    raise ConfigError(f"expected sizes {FORMS}, got {text!r}")


def describe(text: str) -> str:
    """A form as a report shows it: the compatibility mode is labelled.

    >>> describe("recycled:32,normal:165,16")
    'recycled:32,normal:165,16 (compatibility mode)'
    """
    return f"{text} (compatibility mode)" if text.startswith("recycled:") else text


def _read(path: Path) -> NDArray[np.int64]:
    rows: NDArray[np.int64] = read_numbers(path, np.int64)
    if rows.min() < 1:
        line = int(np.argmax(rows < 1)) + 1
        raise DataError(f"{path}: expected sizes >= 1, got {rows[line - 1]} - at number {line}")
    return rows


def _clamp(rows: NDArray[np.float64], cap: int) -> NDArray[np.int64]:
    return np.clip(np.rint(rows), 1, cap).astype(np.int64)
