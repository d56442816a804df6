"""How a search of precision plans is shown: its progress, and what it chose."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from recstack.cli.output import console, kept_in, progress, table
from recstack.data.labelled import LabelledData
from recstack.data.paired_metrics import Metric
from recstack.engine import EngineConfig
from recstack.model import Model
from recstack.precision.budget import Budget
from recstack.tune.quantise import QuantiseConfig, Quantised, Step, quantise
from recstack.tune.quantise.config import UNITS


def quantise_shown(
    model: Model, data: LabelledData, metric: Metric, budget: Budget, config: QuantiseConfig,
    engine: EngineConfig, out: Path | None,
) -> Quantised:  # fmt: skip
    """`quantise` with a bar for what is timed and a line for every plan tried."""
    bar = Progress(
        SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(),
        TextColumn("{task.completed}/{task.total}"), TimeElapsedColumn(),
        console=progress, transient=True,
    )  # fmt: skip
    with bar:
        task = bar.add_task("measuring", total=None)
        tried = 0

        def watch(what: str, done: int, of: int) -> None:
            bar.update(task, description=f"cost of {what}", completed=done, total=of)

        def step(step: Step) -> None:
            nonlocal tried
            tried += 1
            bar.update(task, description="trying plans", completed=tried, total=None)
            progress.print(
                f"  plan {tried} on the {step.rows} rows, {step.cost:,.0f} "
                f"{UNITS[config.objective]}: {step.judgement.reason}",
                style="dim", markup=False, soft_wrap=True,
            )  # fmt: skip

        journal = None if out is None else out / "journal.jsonl"
        with kept_in(journal):
            return quantise(
                model, data, metric, budget, config,
                engine=engine, journal=journal, watch=watch, step=step,
            )  # fmt: skip


def print_quantised(record: dict[str, Any], out: Path | None, holds: bool) -> None:
    """The record of a search, a proof or a publication; out: what was written where."""
    if chosen := record.get("chosen"):
        unit = record["unit"]
        rows = [
            (c["name"], c["kind"], c["precision"], f"{c['cost']:,.0f}", f"{c['fp32_cost']:,.0f}",
             c["note"])
            for c in chosen
        ]  # fmt: skip
        heads = ("name", "kind", "precision", unit, f"fp32 {unit}", "why")
        console.print(table(f"{record['model']}: precisions", heads, rows))
        console.print()
    console.print(f"{record['verdict']}: {record['reason']}", soft_wrap=True, markup=False)
    if record.get("rows_needed"):
        console.print(f"about {record['rows_needed']:,} rows would be needed")
    before, after = record["bytes"]
    console.print(
        f"tables and layers: {before:,} -> {after:,} bytes ({after / max(before, 1):.1%})"
    )
    if record["ns"]:
        before, after = record["ns"]
        console.print(
            f"{record['rows']} rows: {before / 1e3:,.1f} -> {after / 1e3:,.1f} us (measured, "
            f"random inputs), {before / after:.2f}x"
        )
    if out is not None:
        what = "plan, model, deployment and report" if holds else "report"
        console.print(f"wrote {what} to {out}{os.sep}", soft_wrap=True)
        if record["deployment"] == "before":
            console.print(
                f"{out / 'plan.toml'} is still the deployment from before: not of this report",
                soft_wrap=True,
            )
