"""Live against simulated: p95 over the load range, for three models.

    python bench/simulated.py                                              # about 8 minutes
    python bench/simulated.py --models rm1 --policy slack --seconds 20 --out out/simulated.jsonl

For each model, at each share of the capacity that its costs promise, a live run and simulated ones
of the same traffic (Poisson, production-like sizes). Costs are measured by `measure_costs` before
and after each live run, since a shared machine drifts; simulated is the mean of both. The machine
must be quiet. Live figures are measured, the others simulated; the goal is a ratio within 15%.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import recstack as rs
from recstack import results
from recstack.loadtest import DriverConfig, LoadResult, drive, make_queries, make_traffic
from recstack.loadtest.metrics import latencies_ns
from recstack.schedule import ScheduleConfig
from recstack.simulate import simulate
from recstack.tune import engine_costs, random_queries, start


def p95_ms(run: LoadResult) -> float:
    """After warm-up."""
    return float(np.quantile(latencies_ns(run), 0.95)) / 1e6


def main() -> None:
    """Print each load's p95, live and simulated, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default="rm1,wnd,dien")
    parser.add_argument("--rows-scale", type=float, default=0.1)
    parser.add_argument("--lanes", type=int, default=2)
    parser.add_argument("--policy", choices=["fixed", "slack"], default="fixed")
    parser.add_argument("--chunk-rows", type=int, default=256)
    parser.add_argument("--target-ms", type=float, default=100.0, help="of the slack policy")
    parser.add_argument("--loads", default="0.2,0.4,0.6,0.8,0.9")
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    records = []
    print("model       load      qps   live p95 ms   simulated p95 ms   simulated / live")
    for name in args.models.split(","):
        model = rs.zoo.build(name, seed=args.seed, rows_scale=args.rows_scale)
        engine = rs.compile(model)
        costs = [engine_costs(engine, lanes=args.lanes, seed=args.seed)]
        schedule = ScheduleConfig(
            lanes=args.lanes, policy=args.policy, chunk_rows=args.chunk_rows, merge_rows=0,
            costs=costs[0], target_ms=args.target_ms, queue_queries=1 << 16,
        )  # fmt: skip
        factory = random_queries(model, args.seed)
        capacity = costs[0].capacity_qps(168.6, args.lanes)
        with start(engine, schedule) as dispatcher:
            for load in map(float, args.loads.split(",")):
                qps = load * capacity
                count = max(int(qps * args.seconds), 500)
                traffic = make_traffic(qps, count, seed=args.seed)
                queries = make_queries(factory, traffic.rows)
                config = DriverConfig(warmup=count // 20)
                live = drive(dispatcher, queries, traffic.scheduled_ns, config=config)
                costs.append(engine_costs(engine, lanes=args.lanes, seed=args.seed))
                around = [
                    p95_ms(
                        simulate(
                            schedule.model_copy(update={"costs": curve}), traffic,
                            warmup=count // 20, seed=args.seed,
                        ).run
                    )
                    for curve in costs[-2:]
                ]  # fmt: skip
                both = p95_ms(live), float(np.mean(around))
                ratio = both[1] / both[0]
                print(f"{name:8s} {load:7.2f} {qps:8.0f} {both[0]:13.3f} {both[1]:18.3f} "
                      f"{ratio:18.3f}", flush=True)  # fmt: skip
                common = {"model": name, "load": load, "rate_qps": qps, "policy": args.policy}
                records.append({**common, "origin": "measured", "p95_ms": both[0]})
                records.append({**common, "origin": "simulated", "p95_ms": both[1]})
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        results.write(args.out, "live-and-simulated", records, seed=args.seed)


if __name__ == "__main__":
    main()
