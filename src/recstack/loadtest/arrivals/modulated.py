"""Arrivals whose rate changes: bursts, and the course of a day."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recstack.errors import ConfigError
from recstack.loadtest.arrivals.process import check, check_option, to_ns

MOST_SWITCHES = 20_000_000


@dataclass(frozen=True, slots=True)
class Mmpp:
    """A Markov-modulated Poisson process of two states, calm and burst.

    burst: rate in a burst over the calm rate, >= 1.
    calm_s, burst_s: mean dwell times, exponential. They are in seconds whatever the rate, so the
        same seed has its bursts at the same times at every rate.

    The mean over both states is the rate asked for; a run of few dwells lies beside it. Its counts'
    index of dispersion is that of Heffes and Lucantoni (IEEE JSAC 4(6), 1986).

    >>> Mmpp(burst=4.0).rates(100.0)
    (78.57..., 314.28...)
    """

    burst: float = 10.0
    calm_s: float = 5.0
    burst_s: float = 0.5

    def __post_init__(self) -> None:
        if not 1.0 <= self.burst <= 1e6:
            raise ConfigError(f"expected mmpp:burst from 1 to 1e+06, got {self.burst}")
        for name in ("calm_s", "burst_s"):
            check_option(f"mmpp:{name}", getattr(self, name), 0.0, 1e6)

    def rates(self, rate_qps: float) -> tuple[float, float]:
        """Rates in calm and in burst, whose mean over time is `rate_qps`."""
        share = self.burst_s / (self.calm_s + self.burst_s)
        calm = rate_qps / (1.0 + (self.burst - 1.0) * share)
        return calm, calm * self.burst

    def __call__(self, rate_qps: float, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """(count,) int64 ns."""
        check(rate_qps, count)
        dwells, gaps = rng.spawn(2)
        # A Poisson process of rate 1, on the time axis on which the rate's integral is straight.
        wanted = np.cumsum(gaps.standard_exponential(count))
        ends_s, ends = self._path(rate_qps, float(wanted[-1]), dwells)
        return to_ns(np.interp(wanted, ends, ends_s))

    def _path(
        self, rate_qps: float, until: float, rng: np.random.Generator
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Times at which the state changes, and the arrivals expected by then, past `until`."""
        bursting = rng.random() < self.burst_s / (self.calm_s + self.burst_s)
        calm, burst = self.rates(rate_qps)
        means_s = np.array([self.calm_s, self.burst_s])
        rates = np.array([calm, burst])
        if bursting:
            means_s, rates = means_s[::-1], rates[::-1]
        pairs = 2.0 * until / float(means_s @ rates)
        times, counts, total = [np.zeros(1)], [np.zeros(1)], 0.0
        switches = 0
        while total <= until:
            block = rng.standard_exponential((1 << 12, 2)) * means_s
            switches += block.size
            if max(switches, pairs) > MOST_SWITCHES:
                raise ConfigError(
                    f"expected at most {MOST_SWITCHES} switches of mmpp's state in a run, got "
                    f"about {pairs:.3g}: longer dwell times, or fewer arrivals"
                )
            times.append(times[-1][-1] + np.cumsum(block))
            counts.append(total + np.cumsum(block * rates))
            total = float(counts[-1][-1])
        return np.concatenate(times), np.concatenate(counts)


@dataclass(frozen=True, slots=True)
class Diurnal:
    """A Poisson process whose rate follows a sine: mean * (1 + swing * sin(2 pi t / period)).

    period_s: length of a day; a short one shows a day in a run of minutes.
    swing: how far the rate leaves its mean, 0 to 1; traffic at its peak over that at its trough is
        (1 + swing) / (1 - swing), 3 for 0.5.

    Thinned (Lewis and Shedler, 1979): drawn at the peak rate, each kept with rate(t) / peak. The
    mean is the rate asked for over whole periods.

    >>> Diurnal(period_s=60.0, swing=0.5).rate_qps(100.0, np.array([0.0, 15.0, 45.0])).tolist()
    [100.0, 150.0, 50.0]
    """

    period_s: float = 86_400.0
    swing: float = 0.5

    def __post_init__(self) -> None:
        check_option("diurnal:period_s", self.period_s, 0.0, 1e9)
        if not 0.0 <= self.swing <= 1.0:
            raise ConfigError(f"expected diurnal:swing from 0 to 1, got {self.swing}")

    def rate_qps(self, mean_qps: float, at_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """The rate at these times."""
        return mean_qps * (1.0 + self.swing * np.sin((2.0 * math.pi / self.period_s) * at_s))

    def __call__(self, rate_qps: float, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """(count,) int64 ns."""
        check(rate_qps, count)
        gaps, kept = rng.spawn(2)
        peak = rate_qps * (1.0 + self.swing)
        found: list[NDArray[np.float64]] = []
        have, last_s = 0, 0.0
        while have < count:
            more = int((count - have) * (1.0 + self.swing) * 1.02) + 64
            times = last_s + np.cumsum(gaps.standard_exponential(more)) / peak
            last_s = float(times[-1])
            times = times[kept.random(more) * peak < self.rate_qps(rate_qps, times)]
            found.append(times)
            have += times.size
        return to_ns(np.concatenate(found)[:count])
