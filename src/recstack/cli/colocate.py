"""`recstack bench --colocate`: what models cost each other on one machine, and where they go."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recstack import results
from recstack.bench.colocate import ColocateConfig, Matrix, measure
from recstack.bench.colocate_serve import Traffic, Verified, alone_qps, verify
from recstack.bench.placement import Costs, Placement, place, serve
from recstack.cli.models import open_model
from recstack.cli.output import console, print_json, progress, table
from recstack.engine import EngineConfig, compile
from recstack.engine.native import Engine
from recstack.errors import ConfigError
from recstack.loadtest import SLA, sizes
from recstack.loadtest import sla as sla_forms
from recstack.model import Model

DEFAULT_MS = 100


def colocate(
    names: str, config: ColocateConfig, demand: str, sla: str, rows_scale: float,
    out: Path | None, json: bool,
) -> None:  # fmt: skip
    """Measure the matrix, then recommend a placement on all cores and check it live."""
    models = {name: open_model(name, rows_scale, config.seed) for name in _list(names)}
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise ConfigError(f"expected two cores to co-locate on, got {len(cores)}")
    matrix = measure(models, config, cores, _say)
    engines = _engines(models, config.isa)
    slas = {name: _target(name, sla) for name in models}
    traffic = Traffic(sizes.Production(), seed=config.seed)
    alone = {}
    for i, name in enumerate(models):
        # A query of the mean size, at half load.
        start_qps = 0.5e6 / (matrix.alone_us[i] * 256 / config.rows)
        found = alone_qps(engines[name], cores[0], slas[name], traffic, start_qps)
        _say(f"{name} alone: {found.low_qps:.0f} qps at {slas[name]}")
        alone[name] = found.low_qps
    beside = [dict(zip(matrix.models, row, strict=True)) for row in matrix.slowdown]
    costs = Costs(alone, dict(zip(matrix.models, beside, strict=True)))
    wanted = _demand(demand, alone)
    best = place(len(cores), wanted, costs)
    everywhere = serve((tuple(models),) * len(cores), wanted, costs)
    checked = [verify(p, engines, slas, cores, traffic, _say) for p in (best, everywhere)]
    record = _record(best, everywhere, checked, slas, wanted, costs)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        records = [matrix.to_record(), record]
        results.write(out / "colocate.jsonl", "bench", records, seed=config.seed)
    if json:
        print_json({"matrix": matrix.to_record(), "placement": record})
    else:
        _show(matrix, best, everywhere, checked, slas)


def _list(names: str) -> list[str]:
    found = list(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    if not found:
        raise ConfigError(f"expected --colocate MODEL[,MODEL...], got {names!r}")
    return found


def _demand(text: str, alone: Mapping[str, float]) -> dict[str, float]:
    """`rm1=200,wnd=500`; without it, of each model as much of what a lane of its own serves."""
    if not text:
        return dict(alone)
    try:
        pairs = dict(part.split("=") for part in text.split(","))
        wanted = {name.strip(): float(rate) for name, rate in pairs.items()}
    except ValueError:
        wanted = {}
    if wanted.keys() != alone.keys():
        raise ConfigError(f"expected --demand {'=QPS,'.join(alone)}=QPS, got {text!r}")
    return wanted


def _target(name: str, sla: str) -> SLA:
    """The one given, or the published one of the model."""
    base = name.partition(":")[0]
    return sla_forms.parse(sla or f"p95<={sla_forms.PUBLISHED_MS.get(base, DEFAULT_MS)}ms")


def _engines(models: Mapping[str, Model], isa: str) -> dict[str, Engine]:
    made = {name: compile(model, EngineConfig(isa=isa)) for name, model in models.items()}
    return {name: engine for name, engine in made.items() if isinstance(engine, Engine)}


def _record(
    best: Placement, everywhere: Placement, checked: Sequence[Verified],
    slas: Mapping[str, SLA], wanted: Mapping[str, float], costs: Costs,
) -> dict[str, Any]:  # fmt: skip
    return {
        "record": "placement", "origin": "measured",
        "slas": {name: str(sla) for name, sla in slas.items()}, "demand": dict(wanted),
        "alone_qps": dict(costs.alone_qps),
        "placements": [
            {"label": label, "lanes": p.lanes, "modelled_scale": p.scale, "modelled_qps": p.qps,
             "load": p.load, "scale": v.scale, "qps": v.qps,
             "tail_ms": {m: t if math.isfinite(t) else None for m, t in v.tail_ms.items()}}
            for label, p, v in zip(("recommended", "all on every lane"), (best, everywhere),
                                   checked, strict=True)
        ],
    }  # fmt: skip


def _show(
    matrix: Matrix, best: Placement, everywhere: Placement, checked: Sequence[Verified],
    slas: Mapping[str, SLA],
) -> None:  # fmt: skip
    rows = [
        (name, f"{matrix.alone_us[i]:.0f}", f"{matrix.bytes_per_flop[i]:.3f}",
         *(f"{x:.2f}" for x in matrix.slowdown[i]))
        for i, name in enumerate(matrix.models)
    ]  # fmt: skip
    heads = ("victim", "alone us", "bytes/FLOP", *(f"beside {m}" for m in matrix.models))
    title = f"Slowdown on a lane beside another, {matrix.rows} rows (measured; bytes modelled)"
    console.print(table(title, heads, rows))
    console.print(matrix.trend(), soft_wrap=True)
    console.print()
    lines = []
    for label, p, v in zip(("recommended", "all on every lane"), (best, everywhere), checked,
                           strict=True):  # fmt: skip
        for m in p.qps:
            where = ",".join(str(i) for i in p.lanes_of(m))
            lines.append(
                (f"{label}: {m}", where, f"{p.qps[m]:.0f}", f"{v.qps[m]:.0f}",
                 f"{v.tail_ms[m]:.1f}", str(slas[m]))
            )  # fmt: skip
    heads = ("placement", "lanes", "modelled QPS", "measured QPS", "tail ms", "SLA")
    console.print(table("Placement: all models at once (rates measured where held)", heads, lines))
    console.print(
        f"demand served: recommended {checked[0].scale:.2f}x, all on every lane "
        f"{checked[1].scale:.2f}x",
    )


def _say(text: str) -> None:
    progress.print(f"  {text}", style="dim", soft_wrap=True)
