"""A climb of the chunk on running lanes, each step by paired runs until a sequential test decides.

Two chunks run under the same arrivals and sizes, in the order A B B A A B ..., at about the highest
rate that the one in use holds: there, who has the lower percentile has the higher QPS@SLA. A step
is taken where the other's percentile is lower by a one-sided t test on the logarithms of the pairs'
ratios; that it is taken for a chunk which is no better has a chance of at most 1 - `confidence`
over all looks at the step. What is not shown to be better is not taken.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass

from recstack.loadtest import SLA, LoadResult
from recstack.loadtest.metrics import latencies_ns
from recstack.quantiles import quantile
from recstack.tune.trial import decide, log_ratio

CONFIDENCE = 0.95
PAIRS = 7
MOST_STEPS = 5
LEAST_ROWS = 8
Run = Callable[[int, float, int], LoadResult]
"""`run(chunk_rows, rate_qps, seed)`"""
Find = Callable[[int, float], float]
"""`find(chunk_rows, start_qps)`: its QPS@SLA, roughly; 0 where there is none."""


@dataclass(frozen=True, slots=True)
class Step:
    """One comparison of two chunks at a rate, in so many pairs of runs.

    tail_ratio: the percentile with `from_rows` over that with `to_rows`, geometric mean of pairs.
    """

    from_rows: int
    to_rows: int
    rate_qps: float
    pairs: int
    tail_ratio: float
    taken: bool


@dataclass(frozen=True, slots=True)
class LiveClimb:
    """Where a climb ended, what it holds there about, what the first chunk did, and the steps."""

    rows: int
    qps: float
    start_qps: float
    steps: tuple[Step, ...]


def climb_live(
    run: Run, find: Find, sla: SLA, *, start: int, predicted: int, largest_rows: int,
    guess_qps: float, seed: int = 0,
) -> LiveClimb:  # fmt: skip
    """Climb from `start`: first to the predicted chunk, then doubling, then halving, each while it
    helps; `MOST_STEPS` comparisons at most.

    guess_qps: where to look for the first rate, and where to compare when none is found.
    """
    steps: list[Step] = []
    start_qps = find(start, guess_qps)
    best, rate = start, start_qps or guess_qps
    tried = {start}

    def beaten_by(rows: int) -> bool:
        nonlocal best, rate
        if rows in tried or len(steps) == MOST_STEPS:
            return False
        tried.add(rows)
        steps.append(_compare(run, sla, best, rows, rate, seed + 1000 * len(steps)))
        if steps[-1].taken:
            best, rate = rows, find(rows, rate) or rate
        return steps[-1].taken

    beaten_by(predicted)
    while beaten_by(min(2 * best, largest_rows)):
        pass
    while beaten_by(max(best // 2, LEAST_ROWS)):
        pass
    return LiveClimb(best, rate, start_qps, tuple(steps))


def _compare(run: Run, sla: SLA, own: int, other: int, rate: float, seed: int) -> Step:
    gains: list[float] = []
    verdict = None
    while verdict is None:
        pair = seed + len(gains)
        order = (own, other) if len(gains) % 2 == 0 else (other, own)
        tails = {rows: _tail_ns(run(rows, rate, pair), sla) for rows in order}
        gains.append(log_ratio(tails[own], tails[other]))
        verdict = decide(gains, confidence=CONFIDENCE, margin=0.0, pairs=PAIRS)
    ratio = math.exp(statistics.fmean(gains))
    return Step(own, other, rate, len(gains), ratio, verdict == "keep")


def _tail_ns(run: LoadResult, sla: SLA) -> float:
    return quantile(latencies_ns(run), sla.percentile / 100.0).value
