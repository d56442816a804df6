"""Policies compared: QPS@p95 of static, deeprecsched and slack; overload; one large query.

    python bench/policies.py --out out/policies.jsonl                  # simulated, 28 and 40 lanes
    python bench/policies.py --out out/policies.jsonl --live           # and measured, 2 lanes
    python bench/policies.py --out out/policies.jsonl --engine torch   # simulated, torch's costs
    python bench/policies.py --out out/policies.jsonl --models ncf,dien --slas 1 --lanes 40

Eight models, production-like sizes, Poisson arrivals, the SLAs of DeepRecSys times `--slas`. A cell
is one model, SLA, engine, number of lanes and policy; cells that the file has are not run again.
Costs are measured on this machine, once, and kept in the file. `static` cuts largest query / lanes,
`deeprecsched` climbs from `--climb-from` rows; both serve late queries too, up to ten limits late.
Live, the climb's chunk is that of a simulated climb on the same costs, and the policies are probed
in turns, one probe each, so that a machine that drifts drifts for all. A live probe passes by the
median p95 of three runs: a stall of the machine, common to all, spoils one of them only.
`slack` refuses what would be late; its cell says which share of queries that was at its highest
rate, and how many rows per second were answered in time. With more lanes than were measured, lanes
are taken to slow each other down no more than those did.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

import recstack as rs
from recstack import results
from recstack.cli.traffic import random_queries
from recstack.data import random_batch
from recstack.loadtest import (
    SLA,
    DriverConfig,
    Found,
    LoadResult,
    SearchConfig,
    Traffic,
    drive,
    make_queries,
    make_traffic,
    qps_at_sla,
)
from recstack.loadtest.metrics import latencies_ns
from recstack.loadtest.search import Probe, Search
from recstack.loadtest.sizes import Fixed, Production
from recstack.schedule import Costs, ScheduleConfig, climb_chunk_rows, static_chunk_rows
from recstack.simulate import simulate
from recstack.tune import engine_costs, start

# facts of DeepRecSys (ISCA 2020): p95 limits in milliseconds.
SLA_MS = {"ncf": 5, "rm1": 100, "rm2": 400, "rm3": 100, "wnd": 25, "mt-wnd": 25, "din": 100,
          "dien": 35}  # fmt: skip
POLICIES = ("static", "deeprecsched", "slack")
MEAN_ROWS = 168.6


@dataclass(frozen=True)
class Setting:
    """One way to run traffic under a schedule: live, or simulated on so many lanes."""

    origin: str
    lanes: int
    costs: Costs
    run: Callable[[ScheduleConfig, Traffic, int | None], LoadResult]
    tolerance: float
    span: float
    least_s: float
    least: int
    most: int

    def schedule(self, policy: str, chunk_rows: int, sla: SLA) -> ScheduleConfig:
        """Of one policy."""
        slack = policy == "slack"
        return ScheduleConfig(
            lanes=self.lanes, policy="slack" if slack else "fixed", chunk_rows=chunk_rows,
            merge_rows=0, costs=self.costs, target_ms=sla.limit_ms, queue_queries=1 << 16,
            queue_rows=1 << 40,
        )  # fmt: skip

    def traffic(self, qps: float, sla: SLA, seed: int) -> Traffic:
        """Long enough that a queue which grows is seen to."""
        span_s = max(self.span * sla.limit_ns / 1e9, self.least_s)
        count = int(np.clip(qps * span_s, self.least, self.most))
        return make_traffic(qps, count, seed=seed, distribution=Production())

    def find(self, schedule: ScheduleConfig, sla: SLA, seed: int) -> Found:
        """QPS@SLA."""
        start_qps = 0.8 * self.costs.capacity_qps(MEAN_ROWS, self.lanes)
        config = self.search(start_qps, seed)
        return qps_at_sla(self.measure(schedule, sla), sla, config)

    def search(self, start_qps: float, seed: int, factor: float = 2.0) -> SearchConfig:
        """From a predicted rate."""
        return SearchConfig(
            start_qps=start_qps, min_qps=0.2 * start_qps, max_qps=10 * start_qps, factor=factor,
            tolerance=self.tolerance, runs=3, seed=seed,
        )  # fmt: skip

    def measure(self, schedule: ScheduleConfig, sla: SLA) -> Callable[[float, int], LoadResult]:
        """Runs at a rate."""
        deadline_ns = None if schedule.policy == "slack" else 10 * sla.limit_ns
        return lambda qps, seed: self.run(schedule, self.traffic(qps, sla, seed), deadline_ns)


def simulated(costs: Costs, lanes: int) -> Setting:
    """Virtual time."""

    def run(schedule: ScheduleConfig, traffic: Traffic, deadline_ns: int | None) -> LoadResult:
        warmup = traffic.rows.size // 20
        return simulate(schedule, traffic, deadline_ns=deadline_ns, warmup=warmup).run

    return Setting("simulated", lanes, costs, run, 0.01, 60.0, 0.0, 20_000, 200_000)


def live(model: rs.Model, costs: Costs, seed: int) -> Setting:
    """This machine's lanes."""
    engine, factory = rs.compile(model), random_queries(model, seed)
    lanes = costs.busy[-1]

    def run(schedule: ScheduleConfig, traffic: Traffic, deadline_ns: int | None) -> LoadResult:
        dispatcher = start(engine, schedule)
        try:
            queries = make_queries(factory, traffic.rows)
            config = DriverConfig(deadline_ns=deadline_ns, warmup=traffic.rows.size // 20)
            return drive(dispatcher, queries, traffic.scheduled_ns, config=config)
        finally:
            dispatcher.close(drain=False)

    return Setting("measured", lanes, costs, run, 0.03, 10.0, 1.3, 200, 20_000)


def cell(setting: Setting, policy: str, sla: SLA, seed: int, climb_from: int) -> dict[str, Any]:
    """QPS@SLA of one policy, and what happened at that rate."""
    steps: tuple[tuple[int, float], ...] = ()
    chunk = static_chunk_rows(1000, setting.lanes)
    if policy == "deeprecsched":
        climb = climb_chunk_rows(
            lambda rows: setting.find(setting.schedule(policy, rows, sla), sla, seed).low_qps,
            start=climb_from, largest_rows=1000, tolerance=2 * setting.tolerance,
        )  # fmt: skip
        chunk, qps, steps = climb.rows, climb.qps, climb.steps
        schedule = setting.schedule(policy, chunk, sla)
    else:
        schedule = setting.schedule(policy, chunk, sla)
        qps = setting.find(schedule, sla, seed).low_qps
    return {"steps": steps, **described(setting, schedule, qps, sla, seed)}


def described(
    setting: Setting, schedule: ScheduleConfig, qps: float, sla: SLA, seed: int
) -> dict[str, Any]:
    """The cell of a policy whose QPS@SLA is known."""
    record: dict[str, Any] = {"qps": qps, "chunk_rows": schedule.chunk_rows}
    if qps > 0:
        record |= at_rate(setting, schedule, qps, sla, seed)
    if qps > 0 and schedule.policy == "slack":
        record["overload"] = {
            str(share): at_rate(setting, schedule, share * qps, sla, seed)
            for share in (0.8, 1.0, 1.2, 2.0)
        }
    return record


def cells_in_turns(
    setting: Setting, policies: list[str], sla: SLA, seed: int, climb_from: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The cells of several policies, live, started from what the simulator predicts of them."""
    expected = simulated(setting.costs, setting.lanes)
    predicted = {p: cell(expected, p, sla, seed, climb_from) for p in policies}
    schedules = {p: setting.schedule(p, predicted[p]["chunk_rows"], sla) for p in policies}
    least_qps = 0.05 * setting.costs.capacity_qps(MEAN_ROWS, setting.lanes)
    searches = {
        p: Search(setting.search(max(0.9 * predicted[p]["qps"], least_qps), seed, factor=1.15))
        for p in policies
    }
    rates = {p: search.next_rate() for p, search in searches.items()}
    while any(rates.values()):
        for policy, qps in rates.items():
            if qps is not None:
                search, measure = searches[policy], setting.measure(schedules[policy], sla)
                search.tell(median_probe(measure, qps, sla, seed))
                rates[policy] = search.next_rate()
    for policy, search in searches.items():
        found = search.found(sla)
        record = described(setting, schedules[policy], found.low_qps, sla, seed)
        yield policy, {"steps": predicted[policy]["steps"], "found": found.to_record(), **record}


def median_probe(
    measure: Callable[[float, int], LoadResult], qps: float, sla: SLA, seed: int, runs: int = 3
) -> Probe:
    """A rate by the median over runs of the share of queries past the limit."""
    late = [latencies_ns(measure(qps, seed + k)) > sla.limit_ns for k in range(runs)]
    middle = sorted(late, key=np.mean)[runs // 2]
    passes = middle.mean() <= sla.allowed
    outcome: Literal["pass", "fail"] = "pass" if passes else "fail"
    return Probe(qps, outcome, int(middle.sum()), middle.size, runs, 1.0, "median of runs")


def at_rate(
    setting: Setting, schedule: ScheduleConfig, qps: float, sla: SLA, seed: int
) -> dict[str, float]:
    """Goodput (queries and rows in time, per second), refusals, and the longest wait for one."""
    deadline_ns = None if schedule.policy == "slack" else 10 * sla.limit_ns
    run = setting.run(schedule, setting.traffic(qps, sla, seed), deadline_ns)
    kept = slice(run.warmup, None)
    in_time = latencies_ns(run) <= sla.limit_ns
    refused = (run.status != 0)[kept]
    waited = (run.finished_ns - run.scheduled_ns)[kept][refused]
    return {
        "goodput_qps": float(in_time.mean() * qps),
        "goodput_rows": float(run.rows[kept][in_time].sum() / run.rows[kept].size * qps),
        "refused": float(refused.mean()),
        "longest_refusal_ms": float(waited.max() / 1e6) if refused.any() else 0.0,
    }


def one_large(setting: Setting, sla: SLA, seed: int) -> dict[str, float]:
    """p95 of 10-row queries at 0.3 of capacity, and with one of 1000 rows after each thousand."""
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
    """Of torch eager on one thread: the fastest of five runs of each size; no spread."""
    from recstack.engine.torch_executor import TorchExecutor, use_threads

    use_threads(1)
    executor = TorchExecutor(model)
    times = []
    for rows in (1 << k for k in range(11)):
        batch = random_batch(model, rows, seed)
        taken = []
        for _ in range(5):
            began = time.perf_counter()
            executor.run(batch)
            taken.append(1e6 * (time.perf_counter() - began))
        times.append(max(min(taken), times[-1] if times else 0.0))
    return Costs(busy=(1,), service_us=(tuple(times),), what=f"{model.name}, torch eager")


class Cells:
    """The result file: costs and cells, rewritten whole after each."""

    def __init__(self, path: Path, seed: int) -> None:
        self._path, self._seed = path, seed
        path.parent.mkdir(parents=True, exist_ok=True)
        self.records = list(results.read(path, "policies").records) if path.exists() else []

    def get(self, **key: Any) -> dict[str, Any] | None:
        """The record of this key."""
        matching = (r for r in self.records if all(r.get(k) == v for k, v in key.items()))
        return next(matching, None)

    def add(self, **record: Any) -> None:
        """One more record, on disk."""
        self.records.append(record)
        results.write(self._path, "policies", self.records, seed=self._seed)


def settings(args: argparse.Namespace, name: str, cells: Cells) -> Iterator[Setting]:
    """Where to run a model; its costs are measured when the file has none."""
    model = rs.zoo.build(name, seed=args.seed, rows_scale=args.rows_scale)
    known = cells.get(record="costs", model=name, engine=args.engine)
    if known is None:
        torch = args.engine == "torch"
        costs = torch_costs(model, args.seed) if torch else engine_costs(rs.compile(model), lanes=2)
        cells.add(record="costs", model=name, engine=args.engine, costs=costs.model_dump(),
                  origin="measured")  # fmt: skip
    else:
        costs = Costs.model_validate(known["costs"])
    for lanes in filter(None, args.lanes.split(",")):
        yield simulated(costs, int(lanes))
    if args.live:
        yield live(model, costs, args.seed)


def report(cells: Cells, slas: list[float]) -> None:
    """A line per model and SLA, then geometric means, overload, and the large query."""
    done = [r for r in cells.records if r["record"] == "cell"]
    for origin, engine, lanes in sorted({(r["origin"], r["engine"], r["lanes"]) for r in done}):
        where = {"origin": origin, "engine": engine, "lanes": lanes}
        print(f"\n{origin}, costs of {engine}, {lanes} lanes: QPS@p95 of {', '.join(POLICIES)}")
        ratios: dict[str, list[float]] = {"deeprecsched / static": [], "slack / deeprecsched": []}
        for model in SLA_MS:
            for factor in slas:
                key = {"record": "cell", **where, "model": model, "sla": factor}
                found = [cells.get(**key, policy=p) for p in POLICIES]
                trio = [f for f in found if f is not None]
                if len(trio) < len(POLICIES):
                    continue
                qps = [f["qps"] for f in trio]
                for label, low, high in zip(ratios, qps, qps[1:], strict=False):
                    if low > 0:
                        ratios[label].append(high / low)
                rates = "".join(f"{q:10.1f}" for q in qps)
                refused = f"slack refused {trio[2].get('refused', 0.0):.1%}"
                chunk = f"chunk {trio[1]['chunk_rows']}"
                print(
                    f"  {model:7s} x{factor:<4g}{rates}   {chunk}   {refused}{_overload(trio[2])}"
                )
        for label, values in ratios.items():
            if values:
                print(f"  {label}: {_geometric(values)}")
        for r in cells.records:
            if r["record"] == "large" and all(r[k] == v for k, v in where.items()):
                print(f"  {r['model']:7s} p95 of small queries, large among them / alone: "
                      f"{r['ratio']:.2f}")  # fmt: skip


def _overload(record: dict[str, Any]) -> str:
    good = {share: at["goodput_qps"] for share, at in record.get("overload", {}).items()}
    if not good:
        return ""
    peak = max(good.values())
    return "   goodput / peak " + " ".join(f"{s}x {g / peak:.2f}" for s, g in good.items())


def _geometric(values: list[float]) -> str:
    """Geometric mean with a bootstrap interval over cells."""
    logs = np.log(np.maximum(values, 1e-3))
    drawn = np.exp(np.random.default_rng(0).choice(logs, (2000, logs.size)).mean(1))
    low, high = np.quantile(drawn, [0.025, 0.975])
    mean = float(np.exp(logs.mean()))
    return (
        f"geometric mean {mean:.3f} ({low:.3f} to {high:.3f}), least {min(values):.3f}, "
        f"{len(values)} cells"
    )


def main() -> None:
    """Fill the cells asked for, then report all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--models", default=",".join(SLA_MS))
    parser.add_argument("--policies", default=",".join(POLICIES))
    parser.add_argument("--slas", default="0.5,1,1.5")
    parser.add_argument("--lanes", default="28,40", help="simulated; '' for none")
    parser.add_argument("--live", action="store_true", help="and measured, on two lanes")
    parser.add_argument("--engine", choices=["recstack", "torch"], default="recstack")
    parser.add_argument("--rows-scale", type=float, default=0.1)
    parser.add_argument("--climb-from", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.live and args.engine == "torch":
        parser.error("torch's costs are for simulation only")
    cells = Cells(args.out, args.seed)
    slas = [float(x) for x in args.slas.split(",")]
    for name in args.models.split(","):
        for setting in settings(args, name, cells):
            where = {"origin": setting.origin, "engine": args.engine, "lanes": setting.lanes}
            for factor in slas:
                sla = SLA(95.0, round(SLA_MS[name] * factor * 1e6))
                key = {"record": "cell", **where, "model": name, "sla": factor}
                missing = [p for p in args.policies.split(",") if not cells.get(**key, policy=p)]
                if setting.origin == "measured":
                    made = cells_in_turns(setting, missing, sla, args.seed, args.climb_from)
                else:
                    made = ((p, cell(setting, p, sla, args.seed, args.climb_from)) for p in missing)
                for policy, record in made:
                    cells.add(**key, policy=policy, **record)
                    print(f"{setting.origin} {setting.lanes} lanes {name} {sla} {policy}: "
                          f"{record['qps']:.1f} qps", flush=True)  # fmt: skip
            key = {"record": "large", **where, "model": name}
            if args.engine == "recstack" and cells.get(**key) is None:
                cells.add(**key, **one_large(setting, SLA(95.0, SLA_MS[name] * 10**6), args.seed))
    report(cells, slas)


if __name__ == "__main__":
    main()
