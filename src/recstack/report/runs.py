"""Figures of a load run, computed from its raw arrays; the twin of `recstack.loadtest.metrics`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from recstack.quantiles import Quantile, needed, quantile
from recstack.report.document import Document, Entry
from recstack.report.records import SLA, Found, Load
from recstack.report.text import figures

LATENESS_SHARE = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """A load run without its warm-up; m queries.

    name: label, and the file where there are several. sla: what it is held against, if anything.
    latency_ns: (m,) float64 ascending, from the scheduled arrival; infinite where unanswered.
    lateness_ns: (m,) float64 ascending, how late the generator issued.
    counts: queries by status, the ones that occur.
    reasons: why it may not be quoted.
    """

    name: str
    record: Load
    sla: SLA | None
    latency_ns: NDArray[np.float64]
    lateness_ns: NDArray[np.float64]
    counts: Mapping[str, int]
    achieved_qps: float
    reasons: tuple[str, ...]

    @property
    def queries(self) -> int:
        """Queries after warm-up."""
        return int(self.latency_ns.size)

    @property
    def heading(self) -> str:
        """Label, transport and rate."""
        rate = figures(self.record.rate_qps, 4)
        return f"{self.name}, {self.record.transport}, {rate} queries/s"

    def latency(self, share: float) -> Quantile | None:
        """A percentile of latency; None without queries."""
        return quantile(self.latency_ns, share) if self.queries else None

    def lateness(self, share: float) -> float | None:
        """A percentile of the generator's lateness; None without queries."""
        return quantile(self.lateness_ns, share).value if self.queries else None

    @property
    def good(self) -> bool:
        """Whether it is valid, and within its SLA."""
        return self.within_sla and not self.reasons

    @property
    def within_sla(self) -> bool:
        """Whether its percentile is within the limit; without an SLA, it is not."""
        found = self.latency(self.sla.share) if self.sla else None
        return bool(self.sla and found and found.value <= self.sla.limit_ns)


def runs_of(document: Document) -> list[Run]:
    """Every load run of a document."""
    found = document.searches
    return [_run(document, entry, _sla(entry, found)) for entry in document.of(Load)]


def main_run(runs: Sequence[Run]) -> Run | None:
    """The run that a reader cares about most: over HTTP where there is one, the highest rate of a
    valid run within its SLA, or else the lowest rate.
    """
    served = [run for run in runs if run.record.transport.casefold() == "http"]
    pool = [run for run in served or runs if run.queries]
    good = [run for run in pool if run.good]
    if good:
        return max(good, key=lambda run: run.record.rate_qps)
    return min(pool, key=lambda run: run.record.rate_qps) if pool else None


def _sla(entry: Entry[Load], found: Sequence[Entry[Found]]) -> SLA | None:
    """That of the search with the run's label, or the one that all searches share."""
    if entry.data.sla:
        return entry.data.sla
    same = [f.data.sla for f in found if f.data.label == entry.data.label]
    every = {f.data.sla for f in found}
    return same[-1] if same else next(iter(every)) if len(every) == 1 else None


def _run(document: Document, entry: Entry[Load], sla: SLA | None) -> Run:
    load = entry.data
    cut = slice(load.warmup, None)
    status, scheduled, finished = load.status[cut], load.scheduled_ns[cut], load.finished_ns[cut]
    ok = status == load.statuses.index("ok")
    latency = np.where(ok, finished.astype(np.float64) - scheduled, np.inf)
    counts = np.bincount(status, minlength=len(load.statuses))
    span_ns = max(int(scheduled[-1]), int(finished.max())) - int(scheduled[0]) if status.size else 0
    run = Run(
        name=document.name(entry, load.label),
        record=load,
        sla=sla,
        latency_ns=np.sort(latency),
        lateness_ns=np.sort((load.issued_ns - load.scheduled_ns)[cut].astype(np.float64)),
        counts={name: int(n) for name, n in zip(load.statuses, counts, strict=True) if n},
        achieved_qps=float(ok.sum()) / max(span_ns / 1e9, 1e-9),
        reasons=(),
    )
    return replace(run, reasons=_reasons(run))


def _reasons(run: Run) -> tuple[str, ...]:
    """What the record says, and what `recstack.loadtest.verdict` would."""
    load, sla = run.record, run.sla
    reasons = list(load.reasons)
    if sla and run.queries < (least := needed(1.0 - sla.share)):
        reasons.append(
            f"p{sla.percentile:g} needs {least} queries after warm-up, got {run.queries}"
        )
    late_ns = run.lateness(0.99)
    if sla and late_ns is not None and late_ns > LATENESS_SHARE * sla.limit_ns:
        reasons.append(
            f"the generator's p99 lateness is {late_ns / 1e3:.0f} us, over {LATENESS_SHARE:.0%} of "
            f"the limit of {sla.limit_ns / 1e3:.0f} us"
        )
    total = load.status.size
    lost = int((load.status == load.statuses.index("lost")).sum()) if "lost" in load.statuses else 0
    if lost:
        reasons.append(f"{lost} of {total} queries were never answered")
    if load.strays:
        reasons.append(f"{load.strays} completions were repeated or of unknown queries")
    ok = load.status == load.statuses.index("ok")
    if early := int((ok & (load.finished_ns < load.issued_ns)).sum()):
        reasons.append(f"{early} answers are dated before their query was issued")
    return tuple(dict.fromkeys(reasons))
