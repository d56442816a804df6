"""The search of `recstack tune` beside an exhaustive one: how good, at what share of the price.

    python bench/tuning.py --modelled --lanes 4 --out out/tuning                 # made-up curves
    python bench/tuning.py --simulated FOLDER --lanes 28 --out out/tuning        # recorded curves
    python bench/tuning.py --live --rows-scale 0.1 --out out/tuning              # this machine

--simulated takes a folder with a cost curve per model, MODEL.json (`recstack.schedule.Costs`), and
plays them in virtual time; every number of it is simulated, and so of --modelled, whose curves are
an overhead and a time per row that grow when all lanes run. --live runs the models. A file per
model keeps every probe: the same command goes on where it was cut short. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

import recstack as rs
from recstack import results
from recstack.data import random_batch
from recstack.loadtest import SLA, SearchConfig, make_traffic, sizes
from recstack.loadtest.search import Measure, Probe
from recstack.loadtest.sla import parse
from recstack.schedule import Costs, read_costs
from recstack.simulate import simulate
from recstack.tune import (
    Candidate,
    Journal,
    QueryPool,
    Race,
    Rig,
    RunConfig,
    Space,
    exhaustive,
    measure_on,
    schedule_space,
    start,
    static_schedule,
)
from recstack.tune.about import about_engine, about_machine
from recstack.tune.costs import measure_curve
from recstack.tune.live import null_record
from recstack.tune.predict import CostModel
from recstack.types import Query

# p95 targets of the paper (DeepRecSys, table I), ms.
MODELS = {"ncf": 5, "rm1": 100, "rm2": 400, "rm3": 100, "wnd": 25, "mt-wnd": 25, "din": 100,
          "dien": 35}  # fmt: skip
# Microseconds per batch and per row, and how much slower when all lanes run; made up.
MODELLED = {
    "ncf": (20, 1, 1.05), "rm1": (60, 12, 1.4), "rm2": (100, 40, 1.5), "rm3": (40, 30, 1.1),
    "wnd": (40, 8, 1.05), "mt-wnd": (50, 20, 1.05), "din": (200, 30, 1.2), "dien": (300, 25, 1.1),
}  # fmt: skip
LARGEST = 1000
MIX = sizes.Production()
Probes = Callable[[Candidate, float, int], Probe]


def modelled(model: str, lanes: int) -> Costs:
    """A made-up curve."""
    overhead, each, slower = MODELLED[model]
    alone = tuple(overhead + each * 2.0**k for k in range(11))
    both = (alone, tuple(slower * us for us in alone))
    return Costs(busy=(1, lanes), service_us=both, origin="modelled", what=model)


class Counting:
    """Counts the probes that it passes on."""

    def __init__(self, probe: Probes) -> None:
        self._probe = probe
        self.count = 0

    def __call__(self, candidate: Candidate, rate_qps: float, seed: int) -> Probe:
        self.count += 1
        return self._probe(candidate, rate_qps, seed)


def simulated(costs: Costs, queries: int) -> Callable[[Candidate], Measure]:
    """Runs in virtual time; lanes of several threads are as many times faster as modelled."""

    def measure_of(candidate: Candidate) -> Measure:
        threads = candidate.schedule.threads_per_lane**0.8
        service = tuple(tuple(us / threads for us in times) for times in costs.service_us)
        schedule = candidate.schedule.model_copy(
            update={"costs": costs.model_copy(update={"service_us": service})}
        )

        def measure(qps: float, seed: int) -> object:
            traffic = make_traffic(qps, queries, seed=seed, distribution=MIX)
            return simulate(schedule, traffic, warmup=queries // 20, seed=seed).run

        return measure

    return measure_of


def compare(
    model: str, probe: Probes, curve: dict[int, float], sla: SLA, space: Space, lanes: int,
    config: SearchConfig, origin: str,
) -> dict[str, object]:  # fmt: skip
    """One row of the table."""
    predicted = CostModel({"": curve}, MIX.sample(2000, np.random.default_rng(0)))

    def guess(candidate: Candidate) -> float:
        return predicted.qps(candidate.schedule, candidate.plan, sla)

    raced, whole = Counting(probe), Counting(probe)
    baseline = Candidate(static_schedule(lanes, LARGEST))
    found = Race(space, baseline, raced, guess, sla, config, origin=origin).run()
    trials = list(exhaustive(space, whole, guess, sla, config))
    rates = {trial.candidate.key: trial.found.low_qps for trial in trials}
    best = max(trials, key=lambda trial: trial.found.low_qps)
    return {
        "record": "tuning", "origin": origin, "model": model, "sla": str(sla),
        "candidates": len(rates), "probes": raced.count, "exhaustive_probes": whole.count,
        "baseline_qps": rates[baseline.key], "found_qps": rates[found.leader.candidate.key],
        "exhaustive_qps": best.found.low_qps, "better": found.better,
        "found": found.leader.schedule.model_dump(exclude={"costs"}),
        "exhaustive": best.schedule.model_dump(exclude={"costs"}),
    }  # fmt: skip


def rig_of(
    start_it: Callable[[Candidate], object], measure: Callable[[object], Measure], sla: SLA,
    config: SearchConfig, path: Path, question: dict[str, object],
) -> Rig:  # fmt: skip
    done = 0

    def watch(candidate: Candidate, probe: Probe) -> None:
        nonlocal done
        done += 1
        print(f"\r{path.stem}: {done} probes", end="", flush=True)

    return Rig(start_it, measure, sla, config, Journal(path, question), watch)  # type: ignore[arg-type]


class Played:
    """Stands where a system would: the simulation has none."""

    def __init__(self, candidate: Candidate) -> None:
        self.candidate = candidate

    def close(self) -> None:
        """Nothing to close."""


def row(model: str, args: argparse.Namespace) -> dict[str, object]:
    sla = parse(f"p95<={MODELS[model]}ms")
    lanes = args.lanes or len(os.sched_getaffinity(0))
    space = schedule_space(lanes, LARGEST, windows_us=(0.0, 500.0))
    config = SearchConfig(
        tolerance=0.03, confidence=0.9, runs=3, min_qps=0.5, max_qps=1e7, seed=args.seed
    )
    kind = "measured" if args.live else "simulated"
    path = args.out / f"{model}-{kind}.journal"
    question = {"model": model, "sla": str(sla), "lanes": lanes, "seed": args.seed, "kind": kind,
                "rows_scale": args.rows_scale}  # fmt: skip
    if not args.live:
        folder = args.simulated
        costs = read_costs(folder / f"{model}.json") if folder else modelled(model, lanes)
        question |= {"costs": costs.model_dump(mode="json"), "queries": args.queries}
        measure_of = simulated(costs, args.queries)
        rig = rig_of(Played, lambda sut: measure_of(sut.candidate), sla, config, path, question)
        curve = {2**k: 1e3 * us for k, us in enumerate(costs.service_us[0])}
    else:
        made = rs.zoo.build(model, rows_scale=args.rows_scale)
        engine = rs.compile(made)
        question |= {"engine": about_engine(engine), "machine": about_machine()}
        pool = QueryPool(lambda i, rows: Query(i, random_batch(made, rows, i)))
        journal = Journal(args.out / f"{model}-curve.journal", question)
        curve = journal.answer("curve", dict[int, float], lambda: measure_curve(engine, pool))
        run = RunConfig(run_s=1.0, min_queries=500, max_queries=4000)
        rig = rig_of(
            lambda candidate: start(engine, candidate.schedule),
            lambda sut: measure_on(sut, pool, MIX, sla, run, "measured"),
            sla, config, path, question,
        )  # fmt: skip
    try:
        return compare(model, rig.probe, curve, sla, space, lanes, config, kind)
    finally:
        rig.close()
        print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--simulated", type=Path, metavar="FOLDER", help="of cost curves")
    how.add_argument("--live", action="store_true")
    how.add_argument("--modelled", action="store_true")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--lanes", type=int, help="cores to share out; all of this process if none")
    parser.add_argument("--queries", type=int, default=20_000, help="of a simulated run")
    parser.add_argument("--rows-scale", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/tuning"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    rows = [row(model, args) for model in args.models.split(",")]
    kind = "measured" if args.live else "simulated"
    null = [null_record(max(r["found_qps"] for r in rows))] if args.live else []
    results.write(args.out / f"tuning-{kind}.jsonl", "bench", [*rows, *null], seed=args.seed)
    print(f"| model ({kind}) | candidates | probes | exhaustive | share | static QPS | found QPS |"
          " exhaustive QPS | of best | found chunk x lanes |")  # fmt: skip
    print("|---" * 10 + "|")
    for r in rows:
        share, good = r["probes"] / r["exhaustive_probes"], r["found_qps"] / r["exhaustive_qps"]
        f = r["found"]
        print(f"| {r['model']} {r['sla']} | {r['candidates']} | {r['probes']} |"
              f" {r['exhaustive_probes']} | {share:.0%} | {r['baseline_qps']:.0f} |"
              f" {r['found_qps']:.0f} | {r['exhaustive_qps']:.0f} | {good:.1%} |"
              f" {f['chunk_rows']} x {f['lanes']} |")  # fmt: skip


if __name__ == "__main__":
    main()
