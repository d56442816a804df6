"""`--debug` of `quantize`: a plan against fp32, op by op."""

from __future__ import annotations

from pathlib import Path

from recstack import results
from recstack.cli.output import console, print_json, table
from recstack.data.labelled import LabelledData
from recstack.model import Model
from recstack.precision.debug import MOST_DB, OpReport, debug
from recstack.precision.plan import PrecisionPlan
from recstack.report import write_report

DEBUG_ROWS = 2048


def show_debug(
    model: Model, plan: PrecisionPlan, data: LabelledData, out: Path | None, seed: int, json: bool
) -> None:
    """Run fp32 and the plan side by side on some rows; print what each op loses."""
    part = data.sample(DEBUG_ROWS, seed)
    reports = debug(model, plan, part)
    records = [report.to_record() for report in reports]
    if out is not None:
        results.write(out / "debug.jsonl", "quantize", records, seed=seed)
        write_report([out / "debug.jsonl"], out / "debug.html")
    if json:
        print_json(records)
        return
    title = f"{model.name}: ops against fp32 on {part.rows:,} rows, the worst first (measured)"
    heads = ("layer, table or op", "precision", "own dB", "total dB", "largest", "saturated",
             "stand out")  # fmt: skip
    console.print(table(title, heads, [_row(r) for r in reports]))
    if out is not None:
        console.print(f"\nwrote {out / 'debug.html'}", soft_wrap=True)


def _row(r: OpReport) -> tuple[str, ...]:
    own = "" if r.own is None else _db(r.own.sqnr_db)
    saturated = "" if r.saturation is None else f"{r.saturation:.2%}"
    columns = ", ".join(map(str, r.columns[:4])) + (" ..." if len(r.columns) > 4 else "")
    return (
        r.unit or f"({r.kind} {r.name})", r.precision, own, _db(r.total.sqnr_db),
        f"{r.total.largest:.3g}", saturated, columns,
    )  # fmt: skip


def _db(value: float) -> str:
    return "exact" if value >= MOST_DB else f"{value:.1f}"
