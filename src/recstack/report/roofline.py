"""Rooflines: what each batch reached, between its floor and the machine's peaks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from recstack.report.document import Document, Entry
from recstack.report.figure import figure, section, table
from recstack.report.markup import Markup, tag
from recstack.report.records import Roofline
from recstack.report.svg.marks import Key
from recstack.report.svg.plot import Axis, Plot
from recstack.report.svg.scale import Scale, log
from recstack.report.text import NONE, counted, figures

HEIGHT_PX = 300
ROOF_CLASSES = ("s1", "s2", "s3", "s4")
Batches = Sequence[Roofline]


def roofline(document: Document) -> Markup:
    """A table of times over floors, then a roofline per model, all on the same scales."""
    groups: dict[str, list[Roofline]] = {}
    for entry in sorted(document.of(Roofline), key=lambda entry: entry.data.rows):
        groups.setdefault(_case(document, entry), []).append(entry.data)
    if not groups:
        return Markup()
    data = [batch for group in groups.values() for batch in group]
    x = log([d.intensity for d in data] + [d.peak_gflop_s / r.gb_s for d in data for r in d.roofs])
    # Half of the least rate leaves room for the text below it.
    rates = [d.gflop_s(us) for d in data for us in _times(d)]
    y = log([min(rates) / 2, *(d.peak_gflop_s for d in data), *rates])
    charts = [_chart(case, group, x, y, i) for i, (case, group) in enumerate(groups.items())]
    return section(
        "roofline",
        "Rooflines",
        tag(
            "p",
            "The floor of a batch is the larger of its arithmetic at the machine's peak and its "
            "bytes at the bandwidth of the level that holds them (modelled, from measured peaks).",
        ),
        _over_floors(groups),
        tag("div", *charts, class_="charts"),
    )


def _case(document: Document, entry: Entry[Roofline]) -> str:
    d = entry.data
    isa = f", {d.isa}" if d.isa else ""
    queries = f", {d.queries} queries" if d.queries != 1 else ""
    threads = counted(d.threads, "thread")
    return document.name(entry, f"{d.model}, {threads}{isa}{queries}")


def _times(batch: Roofline) -> Iterable[float]:
    return (batch.floor_us, *([batch.measured_us] if batch.measured_us else []))


def _over_floors(groups: Mapping[str, Batches]) -> Markup:
    """Measured time as a multiple of the floor; a column for each number of rows."""
    sizes = sorted({d.rows for group in groups.values() for d in group})
    rows = []
    for case, group in groups.items():
        found = {d.rows: _over(d) for d in group}
        rows.append((case, *(figures(found.get(size)) for size in sizes)))
    return table("Time over floor, by rows of the batch", ["Model", *map(str, sizes)], rows)


def _over(batch: Roofline) -> float | None:
    return None if batch.measured_us is None else batch.measured_us / batch.floor_us


def _chart(case: str, group: Batches, x: Scale, y: Scale, index: int) -> Markup:
    plot = Plot(Axis(x, "intensity (FLOP/byte)"), Axis(y, "GFLOP/s"), HEIGHT_PX)
    roofs = _roofs(plot, group[-1], x, y)
    for d in group:
        _mark(plot, d)
    plot.tags([((d.intensity, d.gflop_s(max(_times(d)))), str(d.rows)) for d in group])
    timed = any(d.measured_us for d in group)
    keys = [*([Key("dot", "s0", "measured, by rows")] if timed else []), Key("ring", "s0", "floor")]
    description = "GFLOP/s over FLOP per byte of each batch and of its floor, below the roofs."
    return figure(
        case,
        "Bytes are weights, once per batch, and table rows. A floor lies below the roofs where it "
        "waits for more than one of them.",
        plot.svg(f"roofline-{index}", f"Roofline of {case}", description),
        _numbers(case, group),
        [*(d.origin for d in group), "modelled"],
        [*keys, *roofs],
    )


def _mark(plot: Plot, d: Roofline) -> None:
    """A ring for the floor; a dot, joined to it, for what was reached."""
    floor = d.gflop_s(d.floor_us)
    words = f"{d.rows} rows, floor {figures(d.floor_us)} µs, {d.bound}"
    if d.measured_us is None:
        plot.mark((d.intensity, floor), "ring", "s0", words)
        return
    reached = d.gflop_s(d.measured_us)
    plot.whisker(d.intensity, min(reached, floor), max(reached, floor), "s0")
    plot.mark((d.intensity, floor), "ring", "s0", words)
    words = f"{d.rows} rows, {figures(d.measured_us)} µs, {figures(_over(d))} times the floor"
    plot.mark((d.intensity, reached), "dot", "s0", words)


def _roofs(plot: Plot, batch: Roofline, x: Scale, y: Scale) -> list[Key]:
    """Each bandwidth up to where it meets the peak, and the peak from the first of them on."""
    peak = batch.peak_gflop_s
    keys = [Key("limit", "", f"peak {figures(peak)} GFLOP/s")]
    ridges = [peak / roof.gb_s for roof in batch.roofs]
    plot.across(peak, min(ridges, default=x.low))
    for roof, ridge, of in zip(batch.roofs, ridges, ROOF_CLASSES, strict=False):
        start = max(x.low, y.low / roof.gb_s)
        plot.line([(start, start * roof.gb_s), (ridge, peak)], of)
        keys.append(Key("line", of, f"{roof.name} {figures(roof.gb_s)} GB/s"))
    return keys


def _numbers(case: str, data: Batches) -> Markup:
    columns = ["Rows", "FLOP/byte", "GFLOP/s", "measured (µs)", "floor (µs)", "times the floor",
               "bound"]  # fmt: skip
    rows = [
        (
            str(d.rows),
            figures(d.intensity),
            figures(d.gflop_s(d.measured_us)) if d.measured_us else NONE,
            figures(d.measured_us),
            figures(d.floor_us),
            figures(_over(d)),
            d.bound,
        )
        for d in data
    ]
    return table(f"Roofline of {case}", columns, rows, text=(0, 6))
