"""A whole schedule issued by a native thread, which waits for nobody's interpreter lock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from recstack import _native
from recstack.batch import Batch
from recstack.errors import BatchError
from recstack.schedule.outcome import STAGES, Failure
from recstack.types import Issued, Query, Status

_UNANSWERED = len(get_args(Status))


def issue_schedule(
    native: _native.Dispatcher,
    batches: Sequence[Batch],
    which: NDArray[np.int32],
    scheduled_ns: NDArray[np.int64],
    *,
    lead_ns: int,
    deadline_ns: int | None,
    drain_ns: int,
    spin_ns: int,
    explain: Callable[[Query, Failure], str],
) -> Issued:
    """`LoopDispatcher.issue_schedule`, for a native dispatcher.

    spin_ns: the last stretch of each wait that is spun through, not slept.
    explain: a failure's text.
    """
    n = scheduled_ns.size
    issued_ns, finished_ns = np.full(n, -1, np.int64), np.full(n, -1, np.int64)
    status = np.full(n, _UNANSWERED, np.uint8)
    stages_ns = np.full((n, len(STAGES)), -1, np.int64)
    arrays = [
        (b.dense, b.user_dense, b.values, b.lengths, b.query_offsets, b.weights) for b in batches
    ]
    try:
        start_ns, failures = native.run_schedule(
            arrays, which, scheduled_ns, lead_ns, -1 if deadline_ns is None else deadline_ns,
            drain_ns, spin_ns, issued_ns, finished_ns, status, stages_ns,
        )  # fmt: skip
    except (TypeError, ValueError) as error:
        raise BatchError(f"the schedule does not fit the model's inputs: {error}") from error
    errors = dict.fromkeys(
        explain(Query(i, batches[which[i]]), Failure(*fields)) for i, fields in failures
    )
    return Issued(
        start_ns=start_ns,
        issued_ns=issued_ns,
        finished_ns=finished_ns,
        status=status,
        stages_ns=_by_name(stages_ns),
        errors=tuple(errors),
    )


def _by_name(stages_ns: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    if (stages_ns < 0).all():
        return {}
    return {name: stages_ns[:, i].copy() for i, name in enumerate(STAGES)}
