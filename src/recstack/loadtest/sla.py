"""The service-level agreement: a percentile and its limit."""

from __future__ import annotations

import re
from dataclasses import dataclass

from recstack.errors import ConfigError

PUBLISHED_MS = {
    "ncf": 5, "rm1": 100, "rm2": 400, "rm3": 100, "wnd": 25, "mt-wnd": 25, "din": 100, "dien": 35,
}  # fmt: skip
"""p95 limits of the zoo's models in DeepRecSys (Gupta et al., ISCA 2020), table I."""
HOPELESS = 10
_UNITS_NS = {"ns": 1, "us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
_TEXT = re.compile(r"\s*p(\d+(?:\.\d+)?)\s*(?:<=|≤)\s*(\d+(?:\.\d+)?)\s*(ns|us|µs|ms|s)\s*")


@dataclass(frozen=True, slots=True)
class SLA:
    """`percentile` percent of the queries are answered within `limit_ns` of their arrival.

    >>> print(SLA(95.0, 10_000_000))
    p95<=10ms
    """

    percentile: float
    limit_ns: int

    def __post_init__(self) -> None:
        if not 0 < self.percentile < 100:
            raise ConfigError(f"expected a percentile between 0 and 100, got {self.percentile}")
        if self.limit_ns <= 0:
            raise ConfigError(f"expected a limit > 0 ns, got {self.limit_ns}")

    @property
    def allowed(self) -> float:
        """The share of queries that may take longer, or fail."""
        return 1.0 - self.percentile / 100.0

    @property
    def limit_ms(self) -> float:
        """The limit in milliseconds."""
        return self.limit_ns / 1e6

    @property
    def hopeless_ns(self) -> int:
        """Ten limits: when a load test gives up a query, to end soon where a rate is lost."""
        return HOPELESS * self.limit_ns

    def __str__(self) -> str:
        unit = next(u for u in ("s", "ms", "us", "ns") if self.limit_ns % _UNITS_NS[u] == 0)
        return f"p{self.percentile:g}<={self.limit_ns // _UNITS_NS[unit]}{unit}"


def parse(text: str) -> SLA:
    """Read an SLA such as `p95<=10ms` or `p99.9 <= 400 us`.

    Raises
    ------
    ConfigError: says what was expected.

    >>> parse("p99 <= 400 us")
    SLA(percentile=99.0, limit_ns=400000)
    """
    found = _TEXT.fullmatch(text)
    if not found:
        raise ConfigError(
            f"expected an SLA such as 'p95<=10ms' (units {' '.join(_UNITS_NS)}), got {text!r}"
        )
    percentile, limit, unit = found.groups()
    return SLA(float(percentile), round(float(limit) * _UNITS_NS[unit]))
