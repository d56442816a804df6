"""Systems for runs under LoadGen, opened in their process."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable

import numpy as np

from recstack.data import random_batch
from recstack.engine import compile
from recstack.mlperf import System
from recstack.model import zoo
from recstack.schedule import ScheduleConfig
from recstack.tune import start
from recstack.types import SUT, Completion, Query


class Delayed:
    """Another system whose answers come `delay_s` later, for a share of the queries."""

    def __init__(self, sut: SUT, delay_s: float, share: float) -> None:
        self._sut, self._delay_s = sut, delay_s
        self._chosen = np.random.default_rng(0).random(100_000) < share
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._changed = threading.Condition()
        threading.Thread(target=self._deliver, daemon=True).start()

    def issue(self, query: Query, done: Callable[[Completion], None]) -> None:
        def late(completion: Completion) -> None:
            if not self._chosen[query.id % self._chosen.size]:
                done(completion)
                return
            when = time.monotonic() + self._delay_s
            with self._changed:
                heapq.heappush(self._later, (when, query.id, lambda: done(completion)))
                self._changed.notify()

        self._sut.issue(query, late)

    def close(self) -> None:
        self._sut.close()

    def _deliver(self) -> None:
        while True:
            with self._changed:
                while not self._later or (left := self._later[0][0] - time.monotonic()) > 0:
                    self._changed.wait(left if self._later else None)
                _, _, deliver = heapq.heappop(self._later)
            deliver()


class Refusing:
    """Refuses every tenth query."""

    def __init__(self, sut: SUT) -> None:
        self._sut = sut

    def issue(self, query: Query, done: Callable[[Completion], None]) -> None:
        if query.id % 10 == 9:
            done(Completion(query.id, "queue_full", time.monotonic_ns()))
        else:
            self._sut.issue(query, done)

    def close(self) -> None:
        self._sut.close()


def small(delay_s: float = 0.0, share: float = 0.0, refusing: bool = False) -> System:
    """A small model behind the dispatcher."""
    model = zoo.build("ncf", rows_scale=1e-4)
    engine = compile(model)
    sut: SUT = start(engine, ScheduleConfig(lanes=2, merge_rows=0))
    if delay_s:
        sut = Delayed(sut, delay_s, share)
    if refusing:
        sut = Refusing(sut)
    return System(
        sut=sut,
        make=lambda index, rows: Query(index, random_batch(model, rows, index)),
        reference=engine.run,
        scaled={"model": "a small one"},
    )
