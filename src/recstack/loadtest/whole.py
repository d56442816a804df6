"""A run that the system under test issues itself, as the same raw arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from recstack.batch import Batch
from recstack.loadtest.outcome import LoadResult
from recstack.types import Origin, Query, ScheduleSUT


def drive_whole(
    sut: ScheduleSUT,
    queries: Sequence[Query],
    scheduled_ns: NDArray[np.int64],
    *,
    lead_ns: int,
    deadline_ns: int | None,
    drain_ns: int,
    origin: Origin = "measured",
) -> LoadResult:
    """Give a system the whole schedule; see `driver.drive`, which checks the arguments."""
    batches, which = _pool(queries)
    ran = sut.issue_schedule(
        batches, which, scheduled_ns, lead_ns=lead_ns, deadline_ns=deadline_ns, drain_ns=drain_ns
    )
    return LoadResult(
        scheduled_ns=scheduled_ns.copy(),
        issued_ns=ran.issued_ns - ran.start_ns,
        finished_ns=np.where(ran.finished_ns < 0, -1, ran.finished_ns - ran.start_ns),
        rows=np.array([batch.rows for batch in batches], np.int64)[which],
        status=ran.status,
        stages_ns=ran.stages_ns,
        errors=ran.errors,
        origin=origin,
    )


def _pool(queries: Sequence[Query]) -> tuple[list[Batch], NDArray[np.int32]]:
    """Each different batch once, and which of them each query sends; (n,) int32."""
    batches = {id(query.batch): query.batch for query in queries}
    place = {key: i for i, key in enumerate(batches)}
    return list(batches.values()), np.array([place[id(q.batch)] for q in queries], np.int32)
