"""Has a mean risen past its limit? Asked after every sample, with a stated false-alarm rate."""

from __future__ import annotations

from math import isfinite, log

import numpy as np

from recstack.errors import ConfigError

BETS = 12


class Detector:
    """Sequential change detection: samples of at least `floor` whose mean should stay <= `limit`.

    limit: what the mean may be at most. floor: what no sample falls below; a lower one counts as
        this.
    every: samples between false alarms, at least, on average: while the mean of each sample, given
        those before it, is at most the limit, n samples raise a false alarm with probability at
        most n / every. Nothing else is asked of the samples: no independence, no upper bound, no
        distribution.

    The Shiryaev-Roberts e-detector of Shin, Ramdas and Rinaldo (E-detectors: a nonparametric
    framework for sequential change detection, 2024): a gambler starts anew at every sample and bets
    that the next ones lie above the limit; M(t) = (1 + M(t - 1)) (1 + bet (x - limit)), averaged
    over a geometric grid of bets from 1 / (limit - floor) down; its expectation without a change is
    at most t, so the alarm is raised where it reaches `every`.

    >>> detector = Detector(limit=0.01, floor=0.0, every=1e6)
    >>> any(detector.add(0.01) for _ in range(5000)), any(detector.add(0.03) for _ in range(50))
    (False, True)
    """

    def __init__(self, limit: float, *, floor: float = 0.0, every: float = 1e6) -> None:
        if not (isfinite(limit) and isfinite(floor) and floor < limit):
            raise ConfigError(f"expected a limit above the floor, got {limit} and {floor}")
        if not 1 < every < float("inf"):
            raise ConfigError(f"expected more than 1 sample between false alarms, got {every}")
        self.limit, self.floor, self.every = limit, floor, every
        self._bets = 0.5 ** np.arange(BETS) / (limit - floor)
        self.reset()

    def reset(self) -> None:
        """Forget all samples."""
        self.samples = 0
        self.mean = 0.0
        self._wealth = np.zeros(BETS)

    @property
    def evidence(self) -> float:
        """How far the evidence has come: 0 none, 1 the alarm; on a log scale."""
        return min(1.0, log(max(float(self._wealth.mean()), 1.0)) / log(self.every))

    def add(self, sample: float) -> bool:
        """Take a sample; True from the alarm on. A sample that is not finite is an alarm."""
        self.samples += 1
        self.mean += (sample - self.mean) / self.samples
        if not isfinite(sample):
            self._wealth[:] = self.every
        elif not self.alarmed:  # what was found stays found
            won = 1.0 + self._bets * (max(sample, self.floor) - self.limit)
            self._wealth = (1.0 + self._wealth) * won
        return self.alarmed

    @property
    def alarmed(self) -> bool:
        """Whether the alarm has been raised."""
        return bool(self._wealth.mean() >= self.every)
