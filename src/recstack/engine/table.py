"""The executor that only takes time: recorded service times by batch size, played on a clock."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from recstack.batch import Batch
from recstack.clock import RealClock
from recstack.errors import ConfigError
from recstack.types import Clock, Origin, Scores


class TableExecutor:
    """Sleeps the service time recorded for a batch's rows and gives zeros.

    service_ns: rows -> nanoseconds. Between two recorded sizes the time is interpolated; below the
        smallest it is the smallest's; above the largest it grows in proportion to the rows.
    outputs: scores per row. clock: what sleeps; a FakeClock plays in virtual time.
    Every result that rests on this executor carries `origin`, which is "simulated".
    Raises ConfigError when the table is empty or holds a size below 1 or a negative time.

    >>> from recstack.clock import FakeClock
    >>> TableExecutor({1: 100, 3: 300}, clock=FakeClock()).service_time_ns(2)
    200
    """

    origin: ClassVar[Origin] = "simulated"

    def __init__(
        self, service_ns: Mapping[int, int], outputs: int = 1, clock: Clock | None = None
    ) -> None:
        if not service_ns:
            raise ConfigError("expected at least one recorded service time, got none")
        for rows, time_ns in service_ns.items():
            if rows < 1 or time_ns < 0:
                raise ConfigError(f"expected rows >= 1 and a time >= 0, got {rows}: {time_ns}")
        self._rows = sorted(service_ns)
        self._times_ns = [service_ns[rows] for rows in self._rows]
        self._outputs = outputs
        self._clock = RealClock() if clock is None else clock

    def service_time_ns(self, rows: int) -> int:
        """The time that a batch of `rows` takes; 0 rows take none."""
        if rows == 0:
            return 0
        at = bisect_left(self._rows, rows)
        if at == len(self._rows):
            return round(self._times_ns[-1] * rows / self._rows[-1])
        if at == 0:
            return self._times_ns[0]
        return round(float(np.interp(rows, self._rows, self._times_ns)))

    def run(self, batch: Batch) -> Scores:
        """Zeros of shape (rows, outputs), float32, after the recorded time."""
        self._clock.sleep_until_ns(self._clock.now_ns() + self.service_time_ns(batch.rows))
        return np.zeros((batch.rows, self._outputs), np.float32)
