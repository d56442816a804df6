"""Whether a load run measures what it claims to."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from recstack.loadtest.metrics import latencies_ns, lateness_ns
from recstack.loadtest.outcome import LOST, OK, LoadResult
from recstack.loadtest.sla import SLA
from recstack.loadtest.stationarity import drift, still_warming_up, warmup_cut
from recstack.quantiles import needed, quantile


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a run may be quoted; `reasons` say why not, `notes` what speaks against it.

    >>> print(Verdict(False, ("3 of 9 queries were never answered",)))
    INVALID: 3 of 9 queries were never answered
    """

    valid: bool
    reasons: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        said = "VALID" if self.valid else "INVALID: " + "; ".join(self.reasons)
        return f"{said} (note: {'; '.join(self.notes)})" if self.notes else said


def judge(
    result: LoadResult, sla: SLA, *, lateness_share: float = 0.05, confidence: float = 0.99
) -> Verdict:
    """Whether the run may be quoted for this SLA; it says nothing on whether the SLA is met.

    Invalid when the generator's p99 lateness is over `lateness_share` of the limit, when there are
    too few queries for the percentile at this confidence, when latencies never settle
    (`stationarity.drift`), when a query was lost, when completions came twice or for unknown
    queries, or when an answer is dated before its query. It notes a warm-up that was found to last
    as long as one may.
    """
    reasons = []
    counted = result.queries - result.warmup
    least = needed(sla.allowed, confidence)
    if counted < least:
        reasons.append(f"p{sla.percentile:g} needs {least} queries after warm-up, got {counted}")
    if counted and (late := late_generator(result, sla, lateness_share)):
        reasons.append(late)
    if counted and (unsettled := _unsettled(result)):
        reasons.append(unsettled)
    if lost := int((result.status == LOST).sum()):
        reasons.append(f"{lost} of {result.queries} queries were never answered")
    if result.strays:
        reasons.append(f"{result.strays} completions were repeated or of unknown queries")
    early = (result.status == OK) & (result.finished_ns < result.issued_ns)
    if early.any():
        reasons.append(f"{int(early.sum())} answers are dated before their query was issued")
    return Verdict(not reasons, tuple(reasons), _notes(result))


def _notes(result: LoadResult) -> tuple[str, ...]:
    whole = latencies_ns(replace(result, warmup=0))
    if warmup_cut(whole) != result.warmup or not still_warming_up(whole):
        return ()
    return (f"the warm-up of {result.warmup} queries is the longest allowed: try a longer run",)


def late_generator(result: LoadResult, sla: SLA, share: float = 0.05) -> str:
    """Why the generator was too late to measure this SLA; "" when it was not."""
    late_ns = quantile(lateness_ns(result).astype(np.float64), 0.99).value
    if late_ns <= share * sla.limit_ns:
        return ""
    return (
        f"the generator's p99 lateness is {late_ns / 1e3:.0f} us, over {share:.0%} of the "
        f"limit of {sla.limit_ns / 1e3:.0f} us"
    )


def _unsettled(result: LoadResult) -> str:
    """Why the run has no steady state to measure; "" when it has one."""
    factor = drift(latencies_ns(result))
    if factor == 1.0:
        return ""
    way = "rise" if factor > 1.0 else "fall"
    return (
        f"latencies {way} to the end, the last quarter's median is {factor:.2g} times the first's: "
        "the run is too short to settle, or the rate is more than the system holds"
    )
