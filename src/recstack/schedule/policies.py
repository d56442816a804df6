"""Where a fixed chunk size comes from: the static rule, and DeepRecSched's hill climbing.

Both are baselines of Gupta et al., DeepRecSys (ISCA 2020). The static one cuts the largest query so
that it occupies every core; DeepRecSched measures: first the chunk, then, with an accelerator, the
size from which queries go there whole. Its climb is one-directional, stops at the first decrease,
and so is fooled by noise and by a plateau before the peak: the measure should be a QPS@SLA found
with confidence, and the result is a baseline, not the best that can be found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from recstack.errors import ConfigError


def static_chunk_rows(largest_rows: int, lanes: int) -> int:
    """Rows per chunk of the static policy: the largest query over the lanes, rounded up.

    >>> static_chunk_rows(1000, 40)
    25
    """
    if largest_rows < 1 or lanes < 1:
        raise ConfigError(f"expected at least 1 row and 1 lane, got {largest_rows} and {lanes}")
    return -(-largest_rows // lanes)


@dataclass(frozen=True, slots=True)
class Climb:
    """What a climb found.

    rows, qps: the best step; qps 0.0 where no step met the SLA.
    steps: (rows, qps) in the order measured.
    """

    rows: int
    qps: float
    steps: tuple[tuple[int, float], ...]


def climb_chunk_rows(
    measure: Callable[[int], float],
    *,
    start: int = 1,
    largest_rows: int = 1024,
    tolerance: float = 0.0,
) -> Climb:
    """DeepRecSched's search: double the chunk while the measured QPS@SLA does not fall.

    Parameters
    ----------
    measure: the QPS@SLA with chunks of so many rows; 0.0 where the SLA cannot be met.
    start: the first chunk size.
    largest_rows: the largest query; a chunk that holds it whole is the last step, as larger ones
        change nothing.
    tolerance: what the measure cannot tell apart, as a share: the climb stops where it has fallen
        by more below the best, and ends on the largest chunk that is not below by more.

    Raises
    ------
    ConfigError: `start` or `largest_rows` < 1, or `tolerance` outside [0, 1).

    The climb goes on while nothing has met the SLA yet: chunks of one row may be hopeless where
    larger ones are not.

    >>> climb_chunk_rows({1: 10.0, 2: 30.0, 4: 50.0, 8: 40.0}.__getitem__)
    Climb(rows=4, qps=50.0, steps=((1, 10.0), (2, 30.0), (4, 50.0), (8, 40.0)))
    """
    return _climb(measure, _doubling(start, largest_rows, last=largest_rows), tolerance)


def climb_threshold_rows(
    measure: Callable[[int], float],
    *,
    start: int = 1,
    largest_rows: int = 1024,
    tolerance: float = 0.0,
) -> Climb:
    """DeepRecSched's second search: double the size from which queries go to an accelerator.

    It begins with all queries there and ends, at the latest, with none: a threshold of
    `largest_rows` + 1. The rest is as of `climb_chunk_rows`.

    >>> climb_threshold_rows(lambda rows: float(rows), start=256, largest_rows=1000).steps
    ((256, 256.0), (512, 512.0), (1001, 1001.0))
    """
    return _climb(measure, _doubling(start, largest_rows, last=largest_rows + 1), tolerance)


def _doubling(start: int, largest_rows: int, last: int) -> Iterator[int]:
    if start < 1 or largest_rows < 1:
        raise ConfigError(f"expected start and largest_rows >= 1, got {start} and {largest_rows}")
    rows = min(start, last)
    while rows < last:
        yield rows
        rows = min(2 * rows, last)
    yield last


def _climb(measure: Callable[[int], float], sizes: Iterator[int], tolerance: float) -> Climb:
    if not 0 <= tolerance < 1:
        raise ConfigError(f"expected tolerance in [0, 1), got {tolerance}")
    steps: list[tuple[int, float]] = []
    enough = 0.0
    for rows in sizes:
        steps.append((rows, measure(rows)))
        enough = (1 - tolerance) * max(qps for _, qps in steps)
        if steps[-1][1] < enough:
            break
    best_rows, best_qps = max(step for step in steps if step[1] >= enough)
    return Climb(best_rows, best_qps, tuple(steps))
