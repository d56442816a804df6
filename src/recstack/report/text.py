"""Numbers and their units as a reader sees them."""

from __future__ import annotations

import math

from recstack.report.markup import Markup, tag

NONE = "–"
UNITS_NS = {"ns": 1.0, "µs": 1e3, "ms": 1e6, "s": 1e9}
MS = UNITS_NS["ms"]


def figures(value: float | None, digits: int = 3) -> str:
    """A number with at least so many significant digits, never in exponents where it is readable.

    >>> figures(1234.5), figures(0.012345), figures(7.0), figures(float("inf")), figures(None)
    ('1,234', '0.0123', '7.00', '∞', '–')
    """
    if value is None or math.isnan(value):
        return NONE
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if not -5 <= size < 12:
        return f"{value:.{digits - 1}e}".replace("-", "−")
    return f"{value:,.{max(digits - 1 - size, 0)}f}".replace("-", "−")


def whole(value: int) -> str:
    """A count.

    >>> whole(1234567)
    '1,234,567'
    """
    return f"{value:,}"


def counted(count: int, noun: str) -> str:
    """A count of things.

    >>> counted(1, "thread"), counted(2, "thread")
    ('1 thread', '2 threads')
    """
    return f"{count} {noun}{'s' * (count != 1)}"


def share(value: float) -> str:
    """A share as a percentage.

    >>> share(0.05), share(0.00123), share(1.0)
    ('5%', '0.123%', '100%')
    """
    return f"{value * 100:.3g}%"


def time(ns: float | None, unit: str) -> str:
    """A duration in nanoseconds, as a number of `unit` with three digits.

    >>> time(1_500_000, "ms")
    '1.50'
    """
    return figures(None if ns is None else ns / UNITS_NS[unit])


def duration(ns: float | None) -> str:
    """A duration in nanoseconds, in the unit that suits it.

    >>> duration(1_500), duration(12_345_678), duration(float("inf"))
    ('1.50 µs', '12.3 ms', '∞')
    """
    if ns is None or not math.isfinite(ns):
        return figures(ns)
    unit = next((u for u in ("s", "ms", "µs") if abs(ns) >= UNITS_NS[u]), "ns")
    return f"{time(ns, unit)} {unit}"


def interval(low: float | None, high: float | None, digits: int = 3) -> str:
    """Two ends of an interval; None and infinity stand for no end.

    >>> interval(1.0, 2.5), interval(3.0, None), interval(None, None)
    ('1.00 to 2.50', 'at least 3.00', 'no bounds')
    """
    low_open, high_open = low is None or math.isinf(low), high is None or math.isinf(high)
    if low_open and high_open:
        return "no bounds"
    if high_open:
        return f"at least {figures(low, digits)}"
    if low_open:
        return f"at most {figures(high, digits)}"
    return f"{figures(low, digits)} to {figures(high, digits)}"


def shorten(text: str, longest: int) -> str:
    """Text of at most so many characters.

    >>> shorten("embedding bags", 10)
    'embedding…'
    """
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"


def badge(*origins: str) -> Markup:
    """Where numbers come from: measured, simulated or modelled."""
    names = sorted(set(origins))
    return tag("span", ", ".join(names), class_=f"origin {' '.join(names)}")
