"""A sampled share of the traffic, scored again in fp32."""

from __future__ import annotations

import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial

import numpy as np
from numpy.typing import NDArray

from recstack.batch import Batch
from recstack.precision.monitor import Alarm, Monitor
from recstack.types import SUT, Completion, Query, Scores

WAITING = 64  # sampled queries that wait for the shadow; more are passed over, and counted
NICE = 10

Sample = tuple[int, str, Batch, Scores]
Reference = Callable[[Batch], tuple[Scores, float]]


class Shadow:
    """Passes queries on to a system, and a sampled share of its answers to a monitor.

    sut: what answers. reference: scores a batch again, in fp32, and tells the worst layer's
    clipping; it runs on a thread of its own that yields to others.
    on_sample: called after each sample, on that thread, with the alarm, from when it is raised on;
    one that labels raised comes with the next sample.
    on_error: told what went wrong in any of these, which is counted. recent: as many of the last
    sampled batches are kept, to calibrate on.

    The sample is drawn by `seed`; a query is never held up by it.
    """

    def __init__(
        self,
        sut: SUT,
        reference: Reference,
        monitor: Monitor,
        *,
        on_sample: Callable[[Alarm | None], None] = lambda alarm: None,
        on_error: Callable[[Exception], None] = lambda error: None,
        recent: int = 64,
        seed: int = 0,
    ) -> None:
        self.sut = sut
        self.monitor = monitor
        self.reference = reference
        self._on_sample, self._on_error = on_sample, on_error
        self._recent: deque[Batch] = deque(maxlen=recent)
        self._random = np.random.default_rng(seed)
        self._draws: NDArray[np.bool_] = np.zeros(0, np.bool_)
        self._next = 0
        self._samples: queue.Queue[Sample | None] = queue.Queue(WAITING)
        self._era = 0
        self._passed_over = 0
        self._failed = 0
        self._hurry = False
        self._thread = threading.Thread(target=self._work, name="recstack-shadow", daemon=True)
        self._thread.start()

    def issue(self, query: Query, done: Callable[[Completion], None]) -> None:
        """Pass a query on; see `SUT.issue`."""
        drawn = self._drawn()
        self.sut.issue(query, partial(self._done, self._era, query, done) if drawn else done)

    def label(self, key: str, labels: NDArray[np.floating]) -> bool:
        """See `Monitor.label`."""
        return self.monitor.label(key, labels)

    def recent(self) -> list[Batch]:
        """The last sampled batches, oldest first."""
        return list(self._recent)

    def renew(self) -> None:
        """Begin anew, monitor and last batches too: another plan answers now.

        Samples of queries issued before this are not taken: the plan before answered them.
        """
        self._era += 1
        self._recent.clear()
        self.monitor.reset()

    def stats(self) -> Mapping[str, float]:
        """The system's counters, and the monitor's numbers."""
        stats = getattr(self.sut, "stats", None)
        found = stats() if callable(stats) else {}
        return {
            **getattr(found, "counters", found),
            **self.monitor.stats(),
            "monitor_passed_over": float(self._passed_over),
            "monitor_failed": float(self._failed),
        }

    def fileno(self) -> int:
        """A descriptor to watch: the system's."""
        return int(self.sut.fileno())  # type: ignore[attr-defined]

    def drain(self) -> object:
        """Call the `done` of every completion of the system that waits."""
        return self.sut.drain()  # type: ignore[attr-defined]

    def close(self, *, drain: bool = True) -> None:
        """End the shadow's thread after the samples that wait, or with `drain=False` after the one
        that it has begun; the system stays open.
        """
        self._hurry = not drain
        with suppress(queue.Full):  # it is then awake anyway, and looks at _hurry
            self._samples.put(None, block=drain)
        self._thread.join()

    def _drawn(self) -> bool:
        if self._next == len(self._draws):
            self._draws = self._random.random(4096) < self.monitor.config.share
            self._next = 0
        self._next += 1
        return bool(self._draws[self._next - 1])

    def _done(
        self, era: int, query: Query, done: Callable[[Completion], None], completion: Completion
    ) -> None:
        if completion.scores is not None:
            try:
                self._samples.put_nowait((era, query.key, query.batch, completion.scores))
            except queue.Full:
                self._passed_over += 1
        done(completion)

    def _work(self) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        while (sample := self._samples.get()) is not None and not self._hurry:
            try:
                self._look(*sample)
            except Exception as error:  # the traffic goes on; the count says the watch does not
                self._failed += 1
                self._on_error(error)
            finally:
                self._samples.task_done()

    def _look(self, era: int, key: str, batch: Batch, scores: Scores) -> None:
        if era == self._era:
            again, clipping = self.reference(batch)
            self._recent.append(batch)
            self._on_sample(self.monitor.observe(key, scores, again, clipping))
