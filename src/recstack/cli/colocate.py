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
from recstack.tune.live import null_record

DEFAULT_MS = 100


def colocate(
    names: str, config: ColocateConfig, demand: str, sla: str, rows_scale: float,
    out: Path | None, json: bool,
) -> bool:  # fmt: skip
    """Measure the matrix, then recommend a placement on all cores and check it live.

    Whether every model meets its SLA alone and the demand, where one was given, was served. The
    file in `out` is written after the matrix and again at the end.
    """
    asked = _list(names)
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise ConfigError(f"expected two cores to co-locate on, got {len(cores)}")
    slas = {name: _target(name, sla) for name in asked}
    wanted = _demand(demand, asked)
    models = {name: open_model(name, rows_scale, config.seed) for name in asked}
    records: list[dict[str, Any]] = []

    def keep(record: dict[str, Any]) -> None:
        records.append(record)
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            results.write(out / "colocate.jsonl", "bench", records, seed=config.seed)

    matrix = measure(models, config, cores, _say)
    keep(matrix.to_record())
    engines = _engines(models, config.isa)
    traffic = Traffic(sizes.Production(), seed=config.seed)
    alone = {}
    for i, name in enumerate(models):
        # A query of the mean size, at half load.
        start_qps = 0.5e6 / (matrix.alone_us[i] * 256 / config.rows)
        found = alone_qps(engines[name], cores[0], slas[name], traffic, start_qps)
        _say(f"{name} alone: {found.low_qps:.0f} qps at {slas[name]}")
        alone[name] = found.low_qps
    placed = [name for name in models if alone[name] > 0]
    wanted = {name: (wanted or alone)[name] for name in placed}
    beside = [dict(zip(matrix.models, row, strict=True)) for row in matrix.slowdown]
    costs = Costs(alone, dict(zip(matrix.models, beside, strict=True)))
    tried: list[tuple[str, Placement, Verified]] = []
    if placed:
        best = place(len(cores), wanted, costs)
        everywhere = serve((tuple(placed),) * len(cores), wanted, costs)
        for label, one in (("recommended", best), ("all on every lane", everywhere)):
            tried.append((label, one, verify(one, engines, slas, cores, traffic, _say)))
    record = _record(tried, slas, wanted, costs)
    keep(record)
    keep(null_record(max(alone.values())))
    met = len(placed) == len(models) and (not demand or tried[0][2].scale >= 1.0)
    if json:
        print_json({"matrix": matrix.to_record(), "placement": record, "met": met})
    else:
        _show(matrix, tried, slas, alone)
    return met


def _list(names: str) -> list[str]:
    found = list(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    if not found:
        raise ConfigError(f"expected --colocate MODEL[,MODEL...], got {names!r}")
    return found


def _demand(text: str, names: Sequence[str]) -> dict[str, float]:
    """`rm1=200,wnd=500`; without it none: of each model as much of what a lane of its own serves.

    Raises ConfigError.
    """
    if not text:
        return {}
    try:
        pairs = dict(part.split("=") for part in text.split(","))
        wanted = {name.strip(): float(rate) for name, rate in pairs.items()}
    except ValueError:
        wanted = {}
    if wanted.keys() != set(names) or not all(0 < rate < math.inf for rate in wanted.values()):
        raise ConfigError(
            f"expected --demand {'=QPS,'.join(names)}=QPS, each above 0, got {text!r}"
        )
    return wanted


def _target(name: str, sla: str) -> SLA:
    """The one given, or the published one of the model."""
    base = name.partition(":")[0]
    return sla_forms.parse(sla or f"p95<={sla_forms.PUBLISHED_MS.get(base, DEFAULT_MS)}ms")


def _engines(models: Mapping[str, Model], isa: str) -> dict[str, Engine]:
    made = {name: compile(model, EngineConfig(isa=isa)) for name, model in models.items()}
    return {name: engine for name, engine in made.items() if isinstance(engine, Engine)}


def _record(
    tried: Sequence[tuple[str, Placement, Verified]], slas: Mapping[str, SLA],
    wanted: Mapping[str, float], costs: Costs,
) -> dict[str, Any]:  # fmt: skip
    """hopeless: models that meet their SLA at no rate, not even alone; they are placed nowhere."""
    return {
        "record": "placement", "origin": "measured",
        "slas": {name: str(sla) for name, sla in slas.items()}, "demand": dict(wanted),
        "alone_qps": dict(costs.alone_qps),
        "hopeless": [name for name, qps in costs.alone_qps.items() if qps <= 0],
        "placements": [
            {"label": label, "lanes": p.lanes, "searched": "all" if p.exact else "locally",
             "modelled_scale": p.scale, "modelled_qps": p.qps,
             "load": p.load, "scale": v.scale, "qps": v.qps,
             "tail_ms": {m: t if math.isfinite(t) else None for m, t in v.tail_ms.items()}}
            for label, p, v in tried
        ],
    }  # fmt: skip


def _show(
    matrix: Matrix, tried: Sequence[tuple[str, Placement, Verified]], slas: Mapping[str, SLA],
    alone: Mapping[str, float],
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
    for name, qps in alone.items():
        if qps <= 0:
            console.print(f"{name} misses {slas[name]} alone, at any rate: not placed")
    if not tried:
        return
    console.print()
    lines = [
        (f"{label}: {m}", ",".join(str(i) for i in p.lanes_of(m)), f"{p.qps[m]:.0f}",
         f"{v.qps[m]:.0f}", f"{v.tail_ms[m]:.1f}", str(slas[m]))
        for label, p, v in tried
        for m in p.qps
    ]  # fmt: skip
    heads = ("placement", "lanes", "modelled QPS", "measured QPS", "tail ms", "SLA")
    console.print(table("Placement: all models at once (rates measured where held)", heads, lines))
    served = ", ".join(f"{label} {v.scale:.2f}x" for label, _, v in tried)
    how = "the best of all" if tried[0][1].exact else "found by local search, too many to try all"
    console.print(f"demand served: {served}; recommended: {how}", soft_wrap=True)


def _say(text: str) -> None:
    progress.print(f"  {text}", style="dim", soft_wrap=True)
