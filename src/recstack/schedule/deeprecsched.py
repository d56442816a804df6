"""DeepRecSched whole: the chunk first, on the cores alone, then the accelerator's threshold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from recstack.schedule.config import ScheduleConfig
from recstack.schedule.policies import Climb, climb_chunk_rows, climb_threshold_rows


@dataclass(frozen=True, slots=True)
class Climbed:
    """The schedule that was found, its QPS@SLA, and both climbs; no threshold without a device."""

    schedule: ScheduleConfig
    qps: float
    chunk: Climb
    threshold: Climb | None = None


def deeprecsched(
    measure: Callable[[ScheduleConfig], float],
    schedule: ScheduleConfig,
    *,
    start: int = 1,
    largest_rows: int = 1024,
    tolerance: float = 0.0,
) -> Climbed:
    """Climb the chunk and then, where `schedule` has an accelerator, the threshold.

    measure: the QPS@SLA of a schedule of the policy "fixed". start: the first chunk; the first
    threshold is 1 row. largest_rows: the largest query. tolerance: as of `climb_chunk_rows`.
    """
    schedule = schedule.model_copy(update={"policy": "fixed"})
    cores = schedule.model_copy(update={"accelerator": None})
    chunk = climb_chunk_rows(
        lambda rows: measure(cores.model_copy(update={"chunk_rows": rows})),
        start=start,
        largest_rows=largest_rows,
        tolerance=tolerance,
    )
    cores = cores.model_copy(update={"chunk_rows": chunk.rows})
    if schedule.accelerator is None:
        return Climbed(cores, chunk.qps, chunk)
    device = schedule.accelerator

    def beyond(rows: int) -> ScheduleConfig:
        there = device.model_copy(update={"threshold_rows": rows})
        return cores.model_copy(update={"accelerator": there})

    threshold = climb_threshold_rows(
        lambda rows: measure(beyond(rows)), largest_rows=largest_rows, tolerance=tolerance
    )
    return Climbed(beyond(threshold.rows), threshold.qps, chunk, threshold)
