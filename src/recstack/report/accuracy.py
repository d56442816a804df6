"""How good the scores are, against PyTorch and a baseline."""

from __future__ import annotations

from collections.abc import Sequence

from recstack.report.document import Document, Entry
from recstack.report.figure import figure, section, table
from recstack.report.markup import Markup, tag
from recstack.report.records import Accuracy
from recstack.report.svg.marks import Key
from recstack.report.svg.plot import Axis
from recstack.report.svg.rows import Mark, Row, rows_chart
from recstack.report.svg.scale import linear
from recstack.report.text import whole

Entries = Sequence[Entry[Accuracy]]


def accuracy(document: Document) -> Markup:
    """AUC and log loss with their intervals."""
    entries = document.of(Accuracy)
    if not entries:
        return Markup()
    charts = tag("div", _auc(document, entries), _log_loss(document, entries), class_="charts")
    return section("accuracy", "Accuracy", charts)


def _auc(document: Document, entries: Entries) -> Markup:
    rows: list[Row] = []
    ends: list[float] = []
    for entry in entries:
        data = entry.data
        marks: list[Mark] = [
            (data.baseline_auc, "tick", "s1", f"{data.baseline}: {data.baseline_auc:.4f}")
        ]
        if data.torch_auc is not None:
            marks.append((data.torch_auc, "frame", "s2", f"PyTorch: {data.torch_auc:.4f}"))
        marks.append((data.auc, "dot", "s0", f"recstack: {data.auc:.4f}"))
        ends += [data.auc_low, data.auc_high, *(value for value, *_ in marks)]
        rows.append(
            Row(
                document.name(entry, data.model),
                f"{data.auc:.4f} ({data.auc_low:.4f} to {data.auc_high:.4f})",
                interval=(data.auc_low, data.auc_high),
                marks=marks,
            )
        )
    title = "Area under the ROC curve"
    axis = Axis(linear(ends, zero=False, ticks=4), "AUC, higher is better")
    baselines = sorted({entry.data.baseline for entry in entries})
    keys = [Key("dot", "s0", "recstack, interval"), Key("tick", "s1", ", ".join(baselines))]
    if any(entry.data.torch_auc is not None for entry in entries):
        keys.append(Key("frame", "s2", "PyTorch, same weights"))
    numbers = [
        (
            document.name(e, e.data.model),
            *(f"{v:.5f}" for v in (e.data.auc, e.data.auc_low, e.data.auc_high)),
            "–" if e.data.torch_auc is None else f"{e.data.torch_auc:.5f}",
            f"{e.data.baseline_auc:.5f}",
            f"{e.data.rows:,}",
        )
        for e in entries
    ]
    description = "AUC of each model with its interval, beside the baseline and PyTorch."
    return figure(
        title,
        "The chance that a positive row scores above a negative one. The axis does not begin at 0.",
        rows_chart("accuracy-auc", title, description, axis, rows),
        table(title, ["Model", "AUC", "low", "high", "PyTorch", "baseline", "rows"], numbers),
        [e.data.origin for e in entries],
        keys,
    )


def _log_loss(document: Document, entries: Entries) -> Markup:
    rows: list[Row] = []
    ends: list[float] = []
    numbers: list[tuple[str, ...]] = []
    for entry in entries:
        data = entry.data
        name = document.name(entry, data.model)
        values = (data.log_loss, data.log_loss_low, data.log_loss_high)
        ends += values
        note = f"{values[0]:.4f} ({values[1]:.4f} to {values[2]:.4f})"
        dot: Mark = (data.log_loss, "dot", "s0", f"recstack: {data.log_loss:.4f}")
        rows.append(Row(name, note, interval=values[1:], marks=[dot]))
        numbers.append((name, *(f"{v:.5f}" for v in values), whole(data.rows)))
    title = "Log loss"
    axis = Axis(linear(ends, zero=False, ticks=4), "log loss (nats per row), lower is better")
    return figure(
        title,
        "Mean negative log likelihood. The axis does not begin at 0.",
        rows_chart("accuracy-log-loss", title, "Log loss with its interval.", axis, rows),
        table(title, ["Model", "log loss", "low", "high", "rows"], numbers),
        [e.data.origin for e in entries],
        [Key("dot", "s0", "recstack, interval")],
    )
