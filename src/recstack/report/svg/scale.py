"""Scales: values to places between 0 and 1, with ticks that read well."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """Places values: 0 is the low end and 1 the high end; what lies outside sticks to an end.

    ticks: value and label of each.
    """

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    warp: Callable[[float], float]

    def at(self, value: float) -> float:
        """The place of a value; infinity is an end."""
        if value <= self.low:
            return 0.0
        if value >= self.high:
            return 1.0
        low = self.warp(self.low)
        return (self.warp(value) - low) / (self.warp(self.high) - low)


def linear(values: Iterable[float], *, zero: bool = True, ticks: int = 5) -> Scale:
    """A linear scale over the finite values, out to round numbers.

    zero: begin at 0.

    >>> [label for _, label in linear([3.0, 97.0]).ticks]
    ['0', '20', '40', '60', '80', '100']
    """
    found = _finite(values) or [0.0, 1.0]
    low, high = (min(0.0, *found) if zero else min(found)), max(found)
    if high <= low:
        pad = abs(low) / 10 or 1.0
        low, high = (low if zero and low == 0 else low - pad), high + pad
    step = _round_step((high - low) / ticks)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    digits = max(0, -math.floor(math.log10(step)))
    marks = tuple((i * step, _label(i * step, digits)) for i in range(first, last + 1))
    return Scale(first * step, last * step, marks, float)


def log(values: Iterable[float], *, most: int = 6) -> Scale:
    """A logarithmic scale over the finite values above 0, out to 1, 2 or 5 times a power of ten.

    most: ticks at most; only powers of ten are labelled where there would be more.

    >>> [label for _, label in log([0.3, 40.0]).ticks]
    ['0.2', '0.5', '1', '2', '5', '10', '20', '50']
    >>> [label for _, label in log([0.003, 400.0]).ticks]
    ['0.01', '0.1', '1', '10', '100']
    """
    found = [v for v in _finite(values) if v > 0] or [1.0, 10.0]
    bottom, top = math.floor(math.log10(min(found))), math.ceil(math.log10(max(found)))
    rounds = [m * 10.0**e for e in range(bottom - 1, top + 1) for m in (1, 2, 5)]
    low = max(r for r in rounds if r <= min(found) * (1 + 1e-9))
    high = min(r for r in rounds if r >= max(found) * (1 - 1e-9) and r > low)
    inside = [r for r in rounds if low <= r <= high]
    if len(inside) > most + 2:
        powers = [10.0**e for e in range(bottom - 1, top + 1) if low <= 10.0**e <= high]
        inside = powers[:: math.ceil(len(powers) / most)]
    return Scale(low, high, tuple((r, f"{r:,.10g}") for r in inside), math.log10)


def at_values(values: Iterable[float]) -> Scale:
    """A logarithmic scale whose ticks are the finite values above 0, with room at both ends.

    >>> [label for _, label in at_values([25, 12.5, 25]).ticks]
    ['12.5', '25']
    """
    found = sorted({v for v in _finite(values) if v > 0}) or [1.0]
    return Scale(found[0] / 1.2, found[-1] * 1.2, tuple((v, f"{v:,g}") for v in found), math.log10)


def tail(smallest: float) -> Scale:
    """Shares of 1 on a scale that gives each further nine the same room.

    smallest: the least share of 1 that is told from none, such as 1 / n.

    >>> [label for _, label in tail(1e-3).ticks]
    ['0%', '50%', '90%', '95%', '99%', '99.9%']
    """
    nines = min(max(math.floor(-math.log10(smallest) + 1e-9), 2), 6)
    shares = [0.0, 0.5, 0.9, 0.95, *(1 - 10.0**-k for k in range(2, nines + 1))]
    marks = tuple((s, f"{100 * s:.8g}%") for s in shares)
    # A little beyond the last nine, so that the last steps still show.
    return Scale(0.0, 1 - 0.6 * 10.0**-nines, marks, lambda share: -math.log10(1 - share))


def _finite(values: Iterable[float]) -> list[float]:
    return [float(v) for v in values if math.isfinite(v)]


def _round_step(rough: float) -> float:
    """1, 2 or 5 times a power of ten, at least `rough` or just under it."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)


def _label(value: float, digits: int) -> str:
    if abs(value) >= 1e7:
        return f"{value:.3g}"
    return f"{value:,.{digits}f}".replace("-", "−")
