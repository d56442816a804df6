"""Where the time of a query goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from recstack.quantiles import quantile
from recstack.report.document import Document
from recstack.report.figure import figure, section, table
from recstack.report.markup import Markup, tag
from recstack.report.records import Stage, Stages
from recstack.report.runs import Run, main_run
from recstack.report.svg.marks import Key
from recstack.report.svg.plot import Axis
from recstack.report.svg.rows import Row, rows_chart
from recstack.report.svg.scale import Scale, linear
from recstack.report.text import UNITS_NS, time, whole

US = UNITS_NS["µs"]


def stages(document: Document, runs: Sequence[Run]) -> Markup:
    """One chart for each run, on a common scale: mean and p95 of each stage.

    The main load run is shown too, by the stages that its answers reported.
    """
    found = [
        (document.name(entry, entry.data.label), entry.data.origin, entry.data.stages)
        for entry in document.of(Stages)
    ]
    run = main_run(runs)
    if run and run.record.stages_ns:
        found.append((run.heading, run.record.origin, stages_of(run)))
    found = [one for one in found if one[2]]
    ends = [max(s.mean_ns, s.p95_ns) / US for *_, one in found for s in one.values()]
    scale = linear(ends, ticks=4)
    charts = [_chart(*one, scale, i) for i, one in enumerate(found)]
    if not charts:
        return Markup()
    return section("stages", "Stages", tag("div", *charts, class_="charts"))


def stages_of(run: Run) -> dict[str, Stage]:
    """The stages of a load run's queries, warm-up left out; -1 marks a query without the stage."""
    found = {}
    for name, durations in run.record.stages_ns.items():
        kept = durations[run.record.warmup :]
        ordered = np.sort(kept[kept >= 0]).astype(np.float64)
        if ordered.size:
            p50, p95, p99 = (quantile(ordered, q).value for q in (0.50, 0.95, 0.99))
            found[name] = Stage(
                count=int(ordered.size),
                mean_ns=float(ordered.mean()),
                p50_ns=p50,
                p95_ns=p95,
                p99_ns=p99,
            )
    return found


def _chart(label: str, origin: str, found: Mapping[str, Stage], scale: Scale, index: int) -> Markup:
    rows = [
        Row(
            name,
            f"mean {time(s.mean_ns, 'µs')} · p95 {time(s.p95_ns, 'µs')} µs",
            of="plain" if name == "total" else "s0",
            bar=s.mean_ns / US,
            marks=[(s.p95_ns / US, "tick", "s1", f"{name} p95: {time(s.p95_ns, 'µs')} µs")],
        )
        for name, s in found.items()
    ]
    numbers = [
        (
            name,
            whole(s.count),
            *(time(v, "µs") for v in (s.mean_ns, s.p50_ns, s.p95_ns, s.p99_ns)),
        )
        for name, s in found.items()
    ]
    title = f"Stages of {label}"
    return figure(
        label,
        "Durations per query. Percentiles of stages do not add up.",
        rows_chart(
            f"stages-{index}", title, "Mean and p95 of each stage.", Axis(scale, "time (µs)"), rows
        ),
        table(title, ["Stage", "count", "mean (µs)", "p50 (µs)", "p95 (µs)", "p99 (µs)"], numbers),
        [origin],
        [Key("bar", "s0", "mean"), Key("tick", "s1", "p95")],
    )
