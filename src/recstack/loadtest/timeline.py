"""What lanes ran and what became of each query, as a record of a result file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recstack.loadtest.outcome import LOST, OK, LoadResult

LANE, ACCELERATOR = "lane", "accelerator"


def timeline_record(
    run: LoadResult, chunks: NDArray[np.int64], lane_kinds: Sequence[str], *, label: str, **key: Any
) -> dict[str, Any]:
    """A record of the sort "timeline".

    chunks: (n, 6) int64, a row per chunk: query, lane, start and end in ns since the start of the
        run, first row, row past the last; those of one merged batch have equal lane and times.
    lane_kinds: of each lane, `LANE` or `ACCELERATOR`.
    key: what else the record says of the run, such as its model and policy.
    """
    query, lane, start_ns, end_ns, _, _ = chunks.T
    refused = (run.status != OK) & (run.status != LOST)
    return {
        "record": "timeline", "origin": run.origin, "label": label, **key,
        "lanes": len(lane_kinds), "lane_kinds": list(lane_kinds),
        "chunk_query": query, "chunk_lane": lane, "chunk_start_ns": start_ns,
        "chunk_end_ns": end_ns, "arrival_ns": run.scheduled_ns, "rows": run.rows,
        "refused_ns": np.where(refused, run.finished_ns, -1),
    }  # fmt: skip
