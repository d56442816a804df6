"""The joints of recstack: everything composes around these protocols."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from recstack.batch import Batch

Scores = NDArray[np.float32]
Status = Literal["ok", "queue_full", "deadline", "shutting_down", "error"]
Origin = Literal["measured", "simulated", "modelled"]


class Clock(Protocol):
    """Monotonic time: real or fake (`recstack.clock`)."""

    def now_ns(self) -> int: ...
    def sleep_until_ns(self, when_ns: int) -> None: ...


class Executor(Protocol):
    """Computes scores: native, reference, torch, table (simulated) or null."""

    def run(self, batch: Batch) -> Scores:
        """Scores of shape (rows, outputs), float32."""
        ...


@dataclass(frozen=True, slots=True)
class Query:
    """One user's request: `batch` holds one query of N rows.

    key: what the client calls it; empty where it has no name.
    """

    id: int
    batch: Batch
    deadline_ns: int | None = None
    key: str = ""


@dataclass(frozen=True, slots=True)
class Completion:
    """How a query ended. `scores` is (rows, outputs) float32 when `status` is "ok", else None.

    `finish_ns` is on the monotonic clock; `stages_ns` are durations by stage name, where known.
    """

    id: int
    status: Status
    finish_ns: int
    scores: Scores | None = None
    error: str = ""
    stages_ns: Mapping[str, int] = field(default_factory=dict)


class SUT(Protocol):
    """A system under test: the dispatcher in process, a client, a cluster handle, or null.

    `issue` returns at once; `done` is called exactly once per query, from any thread.
    """

    def issue(self, query: Query, done: Callable[[Completion], None]) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, eq=False)
class Issued:
    """What became of a schedule of n queries; times are on the monotonic clock.

    start_ns: the schedule's time zero.
    issued_ns, finished_ns: (n,) int64; -1 where it never happened.
    status: (n,) uint8, place in `Status`; one past its last for a query that was not answered.
    stages_ns: by stage name (n,) int64 durations, -1 where the query has none.
    errors: the first few different messages.
    """

    start_ns: int
    issued_ns: NDArray[np.int64]
    finished_ns: NDArray[np.int64]
    status: NDArray[np.uint8]
    stages_ns: Mapping[str, NDArray[np.int64]]
    errors: tuple[str, ...]


@runtime_checkable
class ScheduleSUT(Protocol):
    """A system under test that issues a whole schedule to itself, better than Python could.

    `issue_schedule` sends batches[which[i]] at `scheduled_ns[i]` after the start, which is
    `lead_ns` after it is ready, and returns when all are answered or `drain_ns` after the last.
    which: (n,) int32; scheduled_ns: (n,) int64, ascending; deadline_ns: from the scheduled time.
    """

    def issue_schedule(
        self,
        batches: Sequence[Batch],
        which: NDArray[np.int32],
        scheduled_ns: NDArray[np.int64],
        *,
        lead_ns: int,
        deadline_ns: int | None,
        drain_ns: int,
    ) -> Issued: ...
