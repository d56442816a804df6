"""How a tuning is shown: its progress, its table, its JSON."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.live import Live
from rich.text import Text

from recstack.cli.output import progress, rate, table
from recstack.loadtest.search import Probe
from recstack.schedule import ScheduleConfig
from recstack.tune import Candidate, Trial, Tuned

ENDS = {"fail": "latency", "invalid": "generator", "undecided": "undecided"}


class Progress:
    """Told of every probe: a line each, and on a terminal a last one that says where it stands.

    brief: on a terminal that last one alone.
    """

    def __init__(self, live: Live | None, budget_s: float, *, brief: bool = False) -> None:
        self._live = live
        self._lines = live is None or not brief
        self._budget_s = budget_s
        self._began = time.monotonic()
        self._probes = 0
        self._best: tuple[float, str] = (0.0, "")

    def __call__(self, candidate: Candidate, probe: Probe) -> None:
        """Show one probe."""
        self._probes += 1
        what = describe_candidate(candidate)
        if probe.outcome == "pass" and probe.rate_qps > self._best[0]:
            self._best = probe.rate_qps, what
        if self._lines:
            why = f"{probe.over} of {probe.queries} over the limit"
            why = probe.reason if probe.outcome == "invalid" else why
            line = f"  {what}: {rate(probe.rate_qps):>8} qps  {probe.outcome}  ({why})"
            progress.print(line, style="dim", soft_wrap=True)
        if self._live:
            spent_s = time.monotonic() - self._began
            best = f"best {rate(self._best[0])} qps: {self._best[1]}" if self._best[1] else ""
            self._live.update(
                Text(f"{self._probes} probes, {spent_s:.0f} of {self._budget_s:.0f} s  {best}")
            )


@contextmanager
def show_progress(budget_s: float, *, brief: bool = False) -> Iterator[Progress]:
    """Progress of a tuning on standard error."""
    if not progress.is_terminal:
        yield Progress(None, budget_s)
        return
    with Live(Text("tuning"), console=progress, transient=True) as live:
        yield Progress(live, budget_s, brief=brief)


def describe_schedule(schedule: ScheduleConfig) -> str:
    """Lanes, threads, chunk and merge in a few words."""
    lanes = f"{schedule.lanes} x {schedule.threads_per_lane} threads"
    device = schedule.accelerator
    beside = f" + {device.lanes} {device.device}" if device else ""
    if schedule.policy != "fixed":
        return f"{lanes}{beside}, {schedule.policy}"
    merged = f", merge {schedule.merge_rows}" if schedule.merge_rows else ""
    if schedule.merge_rows and schedule.merge_window_us:
        merged += f" in {schedule.merge_window_us:g} us"
    beside += f" from {device.threshold_rows} rows" if device else ""
    return f"{lanes}{beside}, chunk {schedule.chunk_rows}{merged}"


def describe_candidate(candidate: Candidate) -> str:
    """The plan, where there are several, and the schedule."""
    schedule = describe_schedule(candidate.schedule)
    return f"{candidate.plan}: {schedule}" if candidate.plan else schedule


def tuned_record(found: Tuned) -> dict[str, Any]:
    """A tuning as JSON."""

    def one(trial: Trial) -> dict[str, Any]:
        schedule = trial.schedule.model_dump()
        return {"plan": trial.candidate.plan, "schedule": schedule, **trial.found.to_record()}

    return {
        "baseline": one(found.baseline), "best": one(found.best), "leader": one(found.leader),
        "better": found.better, "checked": found.checked, "complete": found.complete,
        "untried": found.untried,
        "trials": [one(t) for t in found.trials],
    }  # fmt: skip


def found_records(found: Tuned, **deployment: Any) -> list[dict[str, Any]]:
    """Baseline and best as records of a result file; deployment: what both have in common."""
    return [
        {"record": "qps_at_sla", "label": label, **trial.found.to_record(),
         "deployment": {**deployment, "plan": trial.candidate.plan,
                        "schedule": trial.schedule.model_dump(exclude={"costs"})}}
        for label, trial in (("baseline", found.baseline), ("tuned", found.best))
    ]  # fmt: skip


def tuned_table(found: Tuned, sla: str, sizes: str) -> Any:
    """Baseline (the static schedule) against the leader; at most 80 columns wide.

    bracket: the rates between which the answer lies. ended by: why it lies no higher.
    """
    trials = [("baseline", found.baseline)]
    if found.leader is not found.baseline:
        trials.append(("tuned" if found.better else "not better", found.leader))
    rows = []
    for label, trial in trials:
        one = trial.found
        bracket = f"{rate(one.low_qps)}..{rate(one.high_qps)}"
        reason = ENDS.get(one.high_outcome or "", "")
        what = describe_candidate(trial.candidate)
        rows.append((label, what, rate(one.low_qps), bracket, reason))
    heads = ("", "schedule", "QPS", "bracket", "ended by")
    confidence = f"{found.best.found.confidence:.0%} confidence"
    again = ", searched again in turn" if found.checked else ""
    origin = f"(measured, in process, {confidence}{again})"
    return table(f"QPS at {sla}, sizes {sizes}\n{origin}", heads, rows)
