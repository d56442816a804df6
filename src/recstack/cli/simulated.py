"""A search of QPS@SLA in virtual time, with and without an accelerator, and how it is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from recstack.cli.output import progress
from recstack.loadtest import SLA, Found, SearchConfig
from recstack.loadtest.sizes import Sizes
from recstack.schedule import Climb, ScheduleConfig, climb_threshold_rows, deeprecsched
from recstack.simulate import lanes_of, simulated_qps_at_sla

TOLERANCE = 0.01
TIES = 2 * TOLERANCE


@dataclass(frozen=True, slots=True)
class Searched:
    """What a search found. without: the best on the cores alone, where there is an accelerator."""

    schedule: ScheduleConfig
    best: Found
    without: Found | None = None
    chunk: Climb | None = None
    threshold: Climb | None = None


class Search:
    """Searches schedules under one SLA and one distribution of sizes."""

    def __init__(self, sla: SLA, sizes: Sizes, seed: int) -> None:
        self._sla = sla
        self._sizes = sizes
        self._seed = seed
        self._found: dict[str, Found] = {}

    @staticmethod
    def deadline_ns(schedule: ScheduleConfig, sla: SLA) -> int | None:
        """A fixed policy serves what is late all the same; ten limits on it is hopeless."""
        return None if schedule.policy == "slack" else 10 * sla.limit_ns

    def find(self, schedule: ScheduleConfig) -> Found:
        """QPS@SLA of one schedule."""
        key = schedule.model_dump_json(exclude={"costs"})
        if key not in self._found:
            progress.print(_what(schedule), style="dim", soft_wrap=True)
            self._found[key] = self._search(schedule)
        return self._found[key]

    def _search(self, schedule: ScheduleConfig) -> Found:
        start = sum(k.service.costs.capacity_qps(256, k.count) for k in lanes_of(schedule))
        config = SearchConfig(
            start_qps=start,
            min_qps=1e-3 * start,
            max_qps=100 * start,
            tolerance=TOLERANCE,
            runs=2,
            seed=self._seed,
        )
        return simulated_qps_at_sla(
            schedule, self._sizes, self._sla, config,
            deadline_ns=self.deadline_ns(schedule, self._sla),
            watch=lambda p: progress.print(f"  {p.rate_qps:10.0f} qps  {p.outcome}", style="dim"),
        )  # fmt: skip

    def run(
        self, schedule: ScheduleConfig, *, climb_chunk: bool, climb_threshold: bool
    ) -> Searched:
        """Of a schedule as it is, or with what is to be climbed climbed."""
        chunk = threshold = None
        cores = schedule.model_copy(update={"accelerator": None})
        if climb_chunk:
            climbed = deeprecsched(
                lambda s: self.find(s).low_qps, schedule, start=16, tolerance=TIES
            )
            schedule, chunk, threshold = climbed.schedule, climbed.chunk, climbed.threshold
            cores = schedule.model_copy(update={"accelerator": None})
        elif climb_threshold and schedule.accelerator and schedule.policy == "fixed":
            device = schedule.accelerator

            def beyond(rows: int) -> ScheduleConfig:
                there = device.model_copy(update={"threshold_rows": rows})
                return cores.model_copy(update={"accelerator": there})

            threshold = climb_threshold_rows(
                lambda rows: self.find(beyond(rows)).low_qps, tolerance=TIES
            )
            schedule = beyond(threshold.rows)
        without = self.find(cores) if schedule.accelerator else None
        return Searched(schedule, self.find(schedule), without, chunk, threshold)


def search_record(found: Searched) -> dict[str, Any]:
    """As JSON: the best, and what led there."""
    record = {**found.best.to_record(), "chunk_rows": found.schedule.chunk_rows}
    if found.chunk:
        record["chunk_steps"] = found.chunk.steps
    device = found.schedule.accelerator
    if device and found.without:
        record["accelerator"] = {
            "device": device.device,
            "origin": "simulated",
            "lanes": device.lanes,
            "threshold_rows": device.threshold_rows if found.schedule.policy == "fixed" else None,
            "threshold_steps": found.threshold.steps if found.threshold else (),
            "without": found.without.to_record(),
        }
    return record


def search_table(found: Searched, sla: SLA) -> str:
    """For people: a line, and with an accelerator one more for what it is without it."""
    lines = []
    for climb, of in ((found.chunk, "chunk"), (found.threshold, "threshold")):
        if climb:
            steps = ", ".join(f"{rows}: {qps:.0f}" for rows, qps in climb.steps)
            lines.append(f"{of} climbed by rows: {steps} QPS (simulated)")
    best = found.best.low_qps
    lines.append(f"{best:.0f} QPS at {sla} (simulated; {_what(found.schedule)})")
    if found.without is not None:
        without = found.without.low_qps
        gain = f", {best / without:.2f} of it with" if without else ""
        lines.append(f"{without:.0f} QPS without the accelerator (simulated{gain})")
    return "\n".join(lines)


def _what(schedule: ScheduleConfig) -> str:
    fixed = schedule.policy == "fixed"
    said = f"{schedule.policy}, {schedule.lanes} lanes"
    said += f", chunk {schedule.chunk_rows}" if fixed else ""
    device = schedule.accelerator
    if device:
        said += f" + {device.lanes} {device.device}"
        said += f" from {device.threshold_rows} rows" if fixed else ""
    return said
