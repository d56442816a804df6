"""The dispatcher in process: a system under test, and what a server puts behind its front end."""

from __future__ import annotations

import itertools
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from recstack import _native
from recstack.batch import Batch
from recstack.clock import RealClock
from recstack.errors import BatchError, ConfigError
from recstack.schedule.config import ScheduleConfig
from recstack.schedule.outcome import Failure, completion
from recstack.schedule.run import issue_schedule
from recstack.schedule.stats import Stats, stats_of
from recstack.types import Clock, Completion, Issued, Query, Scores

Done = Callable[[Completion], None]
Explain = Callable[[Query, Failure], str]


LIVE_FIELDS = ("chunk_rows", "merge_rows", "merge_window_us")
"""What `reconfigure` may change."""


MAX_NS = 2**63 - 1


class _Pending(NamedTuple):
    query: Query
    scores: Scores
    done: Done


class LoopDispatcher:
    """Runs queries on lanes; whoever owns it drains it, such as an event loop.

        dispatcher = LoopDispatcher(engine.factory)
        loop.add_reader(dispatcher.fileno(), dispatcher.drain)

    `issue`, `drain` and `close` may be called from any thread; `done` is called by `drain`, or by
    `issue` when a query is refused.

    Parameters
    ----------
    factory: makes each lane's executor; lanes share its weights.
    accelerators: makes the executor of each lane of `config.accelerator`.
    config: queue, lanes and batch sizes.
    explain: the text of a failure, such as one that names features; `str(failure)` when None.
    clock: dates the refusals; the lanes use the monotonic clock.
    """

    def __init__(
        self,
        factory: _native.ExecutorFactory,
        config: ScheduleConfig | None = None,
        *,
        accelerators: Sequence[_native.ExecutorFactory] = (),
        explain: Explain | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.config = config = config or ScheduleConfig()
        wanted = config.accelerator.lanes if config.accelerator else 0
        if len(accelerators) != wanted:
            raise ConfigError(
                f"expected executors of {wanted} accelerator lanes, got {len(accelerators)}"
            )
        self._explain = explain
        self._clock = clock or RealClock()
        self._pending: dict[int, _Pending] = {}
        self._tickets = itertools.count()
        self._native = _native.Dispatcher(
            [factory] * config.lanes + list(accelerators),
            config.lane_cores() + [[]] * wanted,
            config.native_policy(),
            config.queue_queries,
            config.queue_rows,
            config.spin_ns(),
            config.curves(),
            [0] * config.lanes + [1] * wanted,
        )
        # Joins the lanes also when nobody closes, before the interpreter goes away under them.
        weakref.finalize(self, self._native.close, False)

    @property
    def pin_errors(self) -> Sequence[str]:
        """One message per lane that could not be bound to its cores."""
        return self._native.pin_errors()

    def reconfigure(self, config: ScheduleConfig) -> None:
        """Cut and merge otherwise from now on, also what waits already; lanes and queue stay.

        Raises
        ------
        ConfigError: more differs than `LIVE_FIELDS`.
        """
        fixed = self.config.model_copy(update={f: getattr(config, f) for f in LIVE_FIELDS})
        if fixed != config:
            raise ConfigError(
                f"expected other values of {', '.join(LIVE_FIELDS)} only: the rest needs new lanes"
            )
        self._native.set_policy(config.native_policy())
        self.config = config

    def begin_trace(self, chunks: int) -> None:
        """Forget what was traced, and keep what lanes run from now on: the next `chunks`."""
        self._native.begin_trace(chunks)

    def traced(self) -> NDArray[np.int64]:
        """(n, 6) int64, a row per chunk, in the order in which they ended: query (its place in the
        schedule that was issued), lane, start and end on the monotonic clock in ns, first row, row
        past the last. Chunks of one merged batch have equal lane and times.
        """
        return np.array(self._native.traced(), np.int64).reshape(-1, 6)

    def issue(self, query: Query, done: Done) -> None:
        """Queue a query, or refuse it at once (queue full, past its deadline, closed).

        Its arrays are read in place until `done` is called: exactly once, with scores of shape
        (rows, outputs) when it went well. Arrays of a query that was refused after it had begun
        may be read for a batch longer; they are kept alive.

        Raises
        ------
        BatchError: the arrays do not fit the model's inputs; `done` is not called.
        """
        batch = query.batch
        ticket = next(self._tickets)
        try:
            scores = np.empty((batch.rows, self._native.outputs), np.float32)
            self._pending[ticket] = _Pending(query, scores, done)
            outcome = self._native.submit(
                ticket, batch.dense, batch.user_dense, batch.values, batch.lengths,
                batch.query_offsets, batch.weights, scores, _native_deadline(query.deadline_ns),
            )  # fmt: skip
        except (
            ArithmeticError,
            AttributeError,
            LookupError,
            MemoryError,
            TypeError,
            ValueError,
        ) as e:
            self._pending.pop(ticket, None)
            raise BatchError(f"the batch does not fit the model's inputs: {e}") from e
        if outcome != "ok":
            del self._pending[ticket]
            done(Completion(query.id, outcome, self._clock.now_ns()))

    def issue_schedule(
        self,
        batches: Sequence[Batch],
        which: NDArray[np.int32],
        scheduled_ns: NDArray[np.int64],
        *,
        lead_ns: int = 5_000_000,
        deadline_ns: int | None = None,
        drain_ns: int = 10_000_000_000,
    ) -> Issued:
        """Issue a schedule from a native thread, and wait; see `recstack.types.ScheduleSUT`.

        Scores are computed and dropped. Any thread; other queries may come in between.

        Raises
        ------
        BatchError: the arrays of a batch do not fit the model's inputs; nothing was issued.
        """
        return issue_schedule(
            self._native, batches, which, scheduled_ns,
            lead_ns=lead_ns, deadline_ns=deadline_ns, drain_ns=drain_ns,
            spin_ns=self.config.issue_spin_ns(), explain=self._text,
        )  # fmt: skip

    def fileno(self) -> int:
        """A descriptor that is readable when there is something to drain."""
        return self._native.fileno()

    def drain(self) -> int:
        """Call `done` of every query that has finished since the last call; returns how many.

        All of them are called; what the first of them to fail raised is raised after that.
        """
        finished = self._native.drain()
        errors: list[Exception] = []
        for ticket, outcome, finish_ns, stages_ns, fields in finished:
            query, scores, done = self._pending.pop(ticket)
            try:
                error = self._text(query, Failure(*fields)) if fields else ""
                done(completion(query.id, outcome, finish_ns, stages_ns, scores, error))
            except Exception as raised:
                errors.append(raised)
        if errors:
            raise errors[0]
        return len(finished)

    def _text(self, query: Query, failure: Failure) -> str:
        try:
            return self._explain(query, failure) if self._explain else str(failure)
        except Exception as error:  # the query's end must be told all the same
            return f"{failure} (explaining it raised {error!r})"

    def stats(self) -> Stats:
        """Counters and latency histograms so far."""
        return stats_of(self._native)

    def close(self, *, drain: bool = True) -> None:
        """Refuse new queries, finish the waiting ones (or end them: `drain=False`), join the lanes.

        Every accepted query's `done` has been called when it returns.
        """
        self._native.close(drain)
        self.drain()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close(drain=kind is None)


def _native_deadline(deadline_ns: int | None) -> int:
    return -1 if deadline_ns is None else min(max(deadline_ns, 0), MAX_NS)


class Dispatcher(LoopDispatcher):
    """Runs queries on lanes; a thread of its own calls `done`. Implements `recstack.types.SUT`."""

    def __init__(
        self,
        factory: _native.ExecutorFactory,
        config: ScheduleConfig | None = None,
        *,
        accelerators: Sequence[_native.ExecutorFactory] = (),
        explain: Explain | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(factory, config, accelerators=accelerators, explain=explain, clock=clock)
        self._closed = threading.Event()
        self._thread = threading.Thread(
            target=_drain_until_closed,
            args=(self._native, self._closed, weakref.WeakMethod(self.drain)),
            name="recstack-drain",
            daemon=True,
        )
        self._thread.start()
        # A daemon that still waits in native code when the interpreter goes would abort it.
        weakref.finalize(self, _end, self._native, self._closed, self._thread)

    def close(self, *, drain: bool = True) -> None:
        """As LoopDispatcher's; also ends the thread."""
        _end(self._native, self._closed, self._thread, drain=drain)
        super().close(drain=drain)


def _end(
    native: _native.Dispatcher, closed: threading.Event, thread: threading.Thread,
    *, drain: bool = False,
) -> None:  # fmt: skip
    # Said first: closing wakes the thread once.
    closed.set()
    native.close(drain)
    if threading.current_thread() is not thread:
        thread.join()


def _drain_until_closed(
    native: _native.Dispatcher,
    closed: threading.Event,
    weak_drain: weakref.WeakMethod[Callable[[], int]],
) -> None:
    """The thread's loop; it must not keep the dispatcher alive, or nobody could drop it."""
    while not closed.is_set():
        native.wait(-1)
        if (drain := weak_drain()) is None:
            return
        try:
            drain()
        except Exception:  # of a `done`: reported as an uncaught one, the others go on
            threading.excepthook(
                threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread()))
            )
        del drain
