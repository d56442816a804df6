"""The joints of recstack: everything composes around these protocols."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

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
    """One user's request: `batch` holds one query of N rows."""

    id: int
    batch: Batch
    deadline_ns: int | None = None


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
