"""How a search in virtual time is shown."""

from __future__ import annotations

from typing import Any

from recstack.cli.output import rate
from recstack.loadtest import SLA
from recstack.schedule import ScheduleConfig
from recstack.simulate import Searched


def search_record(found: Searched) -> dict[str, Any]:
    """As JSON: the best, and what led there."""
    record = {**found.best.to_record(), "chunk_rows": found.schedule.chunk_rows}
    if found.chunk:
        record["chunk_steps"] = found.chunk.steps
    if said := assumed(found.schedule):
        record["assumed"] = said
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
            steps = ", ".join(f"{rows}: {rate(qps)}" for rows, qps in climb.steps)
            lines.append(f"{of} climbed by rows: {steps} QPS (simulated)")
    best = found.best.low_qps
    lines.append(f"{rate(best)} QPS at {sla} (simulated; {describe(found.schedule)})")
    if found.without is not None:
        without = found.without.low_qps
        gain = f", {best / without:.2f} of it with" if without else ""
        lines.append(f"{rate(without)} QPS without the accelerator (simulated{gain})")
    if said := assumed(found.schedule):
        lines.append(f"{said} (simulated)")
    return "\n".join(lines)


def assumed(schedule: ScheduleConfig) -> str:
    """What was not measured of how a schedule's lanes slow each other down; "" where all was."""
    return schedule.costs.assumed(schedule.lanes) if schedule.costs else ""


def describe(schedule: ScheduleConfig) -> str:
    """Policy, lanes and device in a few words."""
    fixed = schedule.policy == "fixed"
    said = f"{schedule.policy}, {schedule.lanes} lanes"
    said += f", chunk {schedule.chunk_rows}" if fixed else ""
    device = schedule.accelerator
    if device:
        said += f" + {device.lanes} {device.device}"
        said += f" from {device.threshold_rows} rows" if fixed else ""
    return said
