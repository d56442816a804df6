"""Policies compared: QPS@p95 of static, deeprecsched and slack; overload; one large query.

    python bench/policies.py --out out/policies.jsonl                  # simulated, 28 and 40 lanes
    python bench/policies.py --out out/policies.jsonl --live           # and measured, 2 lanes
    python bench/policies.py --out out/policies.jsonl --live --repeat  # each live cell twice more
    python bench/policies.py --out out/policies.jsonl --engine torch   # simulated, torch's costs
    python bench/policies.py --out out/policies.jsonl --models ncf,dien --slas 1 --lanes 40
    python bench/policies.py --out out/policies.jsonl --table          # prints, runs nothing
    recstack report out/policies.jsonl --out out/policies.html

Eight models, production-like sizes, Poisson arrivals, the SLAs of DeepRecSys times `--slas`. A cell
is one model, SLA, engine, number of lanes and policy; cells that the file has are not run again.
Costs are measured on this machine, once, and kept in the file. `static` cuts largest query / lanes,
`deeprecsched` climbs from `--climb-from` rows; both serve late queries too, up to ten limits late.
Live, the chunk is climbed on the lanes by paired runs (`recstack.tune.climb`); then all policies
are probed in turns with other random numbers, one probe each, so that a machine that drifts drifts
for all and no policy keeps the luck it was chosen for. A live probe passes by the median of three
runs: a stall of the machine, common to all, spoils one of them only. Live cells of an SLA are run
together, all anew where one is missing. `--repeat` searches every live cell twice, with fresh
random numbers each, and keeps the ratio of the two.
`slack` refuses what would be late. With more lanes than were measured, lanes are taken to slow each
other down no more than those did.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from policies_table import render, upgraded

import recstack as rs
from recstack import results
from recstack.cli.policies import factors, live_setting, scaled, simulated_setting
from recstack.loadtest import SLA, Traffic, make_traffic
from recstack.loadtest.metrics import latencies_ns
from recstack.loadtest.sizes import Fixed, Production
from recstack.loadtest.sla import PUBLISHED_MS
from recstack.schedule import Costs
from recstack.tune import engine_costs, executor_costs
from recstack.tune.live import null_record
from recstack.tune.policies import POLICIES, compare, traced
from recstack.tune.setting import Setting
from recstack.tune.turns import search_twice

TRACED = "rm2,wnd"
PER_CELL = ("qps_at_sla", "at_load", "repeat")


def one_large(setting: Setting, sla: SLA, seed: int) -> dict[str, float]:
    """p95 of 10-row queries at 0.3 of capacity, and with one of 1000 rows after each thousand.

    Measured, the pair whose ratio is the middle one of three: a stall spoils one p95, not all.
    """
    count = 3 if setting.origin == "measured" else 1
    pairs = [_one_large(setting, sla, seed + i) for i in range(count)]
    return sorted(pairs, key=lambda pair: pair["ratio"])[count // 2]


def _one_large(setting: Setting, sla: SLA, seed: int) -> dict[str, float]:
    schedule = setting.schedule("slack", 256, sla)
    qps = 0.3 * setting.costs.capacity_qps(10, setting.lanes)
    count = 20_000 if setting.origin == "measured" else 100_000
    small = make_traffic(qps, count, seed=seed, distribution=Fixed(10))
    at = np.arange(500, count, 1000)
    arrivals = np.insert(small.scheduled_ns, at, small.scheduled_ns[at])
    mixed = Traffic(arrivals, np.insert(small.rows, at, 1000))
    runs = [setting.run(schedule, traffic, None) for traffic in (small, mixed)]
    p95 = [float(np.quantile(latencies_ns(r)[r.rows[r.warmup :] == 10], 0.95)) / 1e6 for r in runs]
    return {"alone_p95_ms": p95[0], "among_p95_ms": p95[1], "ratio": p95[1] / p95[0]}


def torch_costs(model: rs.Model, seed: int) -> Costs:
    """Of torch eager on one thread."""
    from recstack.engine.torch_executor import TorchExecutor, use_threads

    use_threads(1)
    what = f"{model.name}, torch eager"
    return executor_costs(TorchExecutor(model), model, seed=seed, what=what)


class Cells:
    """The result file: costs and cells, rewritten whole after each."""

    def __init__(self, path: Path, seed: int) -> None:
        self._path, self._seed = path, seed
        path.parent.mkdir(parents=True, exist_ok=True)
        found = list(results.read(path, "policies").records) if path.exists() else []
        self.records = upgraded(found)
        if self.records != found:
            self.add()

    def get(self, **key: Any) -> dict[str, Any] | None:
        """The record of this key."""
        matching = (r for r in self.records if all(r.get(k) == v for k, v in key.items()))
        return next(matching, None)

    def put(self, records: list[dict[str, Any]], **key: Any) -> None:
        """Records in place of those of this key."""
        sorts = (key.pop("record"),) if "record" in key else PER_CELL
        self.records = [
            r for r in self.records
            if r["record"] not in sorts or any(r.get(k) != v for k, v in key.items())
        ]  # fmt: skip
        self.add(*records)

    def add(self, *records: dict[str, Any]) -> None:
        """More records, on disk."""
        self.records += records
        results.write(self._path, "policies", self.records, seed=self._seed)


def settings(args: argparse.Namespace, name: str, cells: Cells) -> Iterator[Setting]:
    """Where to run a model; its costs are measured when the file has none."""
    model = rs.zoo.build(name, seed=args.seed, rows_scale=args.rows_scale)
    key = {"model": name, "engine": args.engine}
    known = cells.get(record="costs", **key)
    if known is None:
        torch = args.engine == "torch"
        costs = torch_costs(model, args.seed) if torch else engine_costs(rs.compile(model), lanes=2)
        cells.add({"record": "costs", **key, "costs": costs.model_dump(), "origin": "measured"})
    else:
        costs = Costs.model_validate(known["costs"])
    sizes, seed = Production(), args.seed
    for lanes in filter(None, args.lanes.split(",")):
        made = simulated_setting(costs, int(lanes), sizes, seed=seed, **key)
        yield replace(made, climb_from=args.climb_from)
    if args.live:
        lanes = costs.busy[-1]
        live = live_setting(rs.compile(model), costs, lanes, sizes, seed=seed, **key)
        yield replace(live, climb_from=args.climb_from)


def fill(setting: Setting, cells: Cells, args: argparse.Namespace) -> None:
    """The cells, the traces and the large query of one model in one setting, where not there."""
    name = setting.key["model"]
    where = {**setting.key, "origin": setting.origin, "lanes": setting.lanes}
    whole = SLA(95.0, PUBLISHED_MS[name] * 10**6)
    for factor in factors(args.slas):
        sla = scaled(whole, factor)
        key = {"record": "qps_at_sla", **where, "sla": str(sla)}
        asked = args.policies.split(",")
        missing = [p for p in asked if cells.get(**key, policy=p) is None]
        if missing and setting.expected:
            missing = asked  # in turns with each other
        for made in compare(setting, missing, sla):
            policy = made[0]["policy"]
            cells.put(made, **where, sla=str(sla), policy=policy)
            print(f"{setting.origin} {setting.lanes} lanes {name} {sla} {policy}: "
                  f"{made[0]['low_qps']:.1f} qps", *made[0]["reasons"], flush=True)  # fmt: skip
        if args.repeat and setting.expected:
            repeat(setting, cells, {**where, "sla": str(sla)}, sla)
    if name in args.traces.split(",") and cells.get(record="timeline", **where) is None:
        own = [r for r in cells.records if all(r.get(k) == v for k, v in where.items())]
        cells.add(*traced(setting, own, whole))
    key = {"record": "large", **where}
    if setting.key["engine"] == "recstack" and cells.get(**key) is None:
        cells.add({**key, **one_large(setting, whole, setting.seed)})
    if setting.expected and cells.get(record="null", **where) is None:
        rates = [r["low_qps"] for r in cells.records if r["record"] == "qps_at_sla"]
        cells.add({**null_record(max(rates, default=0.0)), **where})


def repeat(setting: Setting, cells: Cells, where: dict[str, Any], sla: SLA) -> None:
    """Every cell at an SLA twice more, in turns, where that is not there: do the two agree?"""
    found = [r for r in cells.records if r["record"] == "qps_at_sla" and r["low_qps"] > 0
             and all(r.get(k) == v for k, v in where.items())]  # fmt: skip
    if not found or all(cells.get(record="repeat", **where, policy=r["policy"]) for r in found):
        return
    for policy, qps in search_twice(setting, found, sla).items():
        ratio = max(qps) / min(qps) if min(qps) > 0 else None
        cells.put([{"record": "repeat", **where, "policy": policy, "qps": qps, "ratio": ratio}],
                  record="repeat", **where, policy=policy)  # fmt: skip
        print(f"{where['model']} {sla} {policy}: {qps[0]:.1f} and {qps[1]:.1f} qps", flush=True)


def main() -> None:
    """Fill the cells asked for, then print all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--table", action="store_true", help="print what the file has, run nothing")
    parser.add_argument("--models", default=",".join(PUBLISHED_MS))
    parser.add_argument("--policies", default=",".join(POLICIES))
    parser.add_argument("--slas", default="0.5,1,1.5")
    parser.add_argument("--lanes", default="28,40", help="simulated; '' for none")
    parser.add_argument("--live", action="store_true", help="and measured, on two lanes")
    parser.add_argument("--repeat", action="store_true", help="live cells twice more, their ratio")
    parser.add_argument("--engine", choices=["recstack", "torch"], default="recstack")
    parser.add_argument("--traces", default=TRACED, help="models whose lanes are traced")
    parser.add_argument("--rows-scale", type=float, default=0.1)
    parser.add_argument("--climb-from", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.live and args.engine == "torch":
        parser.error("torch's costs are for simulation only")
    if args.repeat and not args.live:
        parser.error("expected --repeat with --live")
    if args.table:
        print(render(upgraded(results.read(args.out, "policies").records)))
        return
    cells = Cells(args.out, args.seed)
    for name in args.models.split(","):
        for setting in settings(args, name, cells):
            fill(setting, cells, args)
    print(render(cells.records))


if __name__ == "__main__":
    main()
