"""Clocks: the real monotonic one, and a fake one for tests and virtual time."""

from __future__ import annotations

import time


class RealClock:
    """Monotonic nanoseconds of this machine."""

    def now_ns(self) -> int:
        """Nanoseconds since an arbitrary, fixed origin; never goes back."""
        return time.monotonic_ns()

    def sleep_until_ns(self, when_ns: int) -> None:
        """Return at `when_ns` or as soon after it as the system allows.

        Sleeps to within 100 us of the time and yields for the rest, so that a schedule of arrivals
        is kept to some tens of microseconds on a machine with an idle core.
        """
        while True:
            left_ns = when_ns - time.monotonic_ns()
            if left_ns <= 0:
                return
            time.sleep((left_ns - 60_000) / 1e9 if left_ns > 100_000 else 0)


class FakeClock:
    """A clock that moves only when told to; sleeping moves it."""

    def __init__(self, now_ns: int = 0) -> None:
        self._now_ns = now_ns

    def now_ns(self) -> int:
        """The virtual time in nanoseconds."""
        return self._now_ns

    def sleep_until_ns(self, when_ns: int) -> None:
        """Jump to `when_ns`; a time in the past changes nothing."""
        self._now_ns = max(self._now_ns, when_ns)
