"""What a query costs the HTTP load client, in CPU and latency: a whole schedule or one by one.

    python bench/load_client.py [--qps 1000] [--seconds 3] [--rounds 5] [--rows 64]

Both ways drive the same null server, in a process of its own, in turns. Prints JSON: medians over
rounds, and `cpu` the ratio of CPU per query, one by one over whole.
"""

from __future__ import annotations

import argparse
import json
import time
from contextlib import closing

import numpy as np

from recstack.batch import Batch
from recstack.loadtest import DriverConfig, drive, make_traffic, summarise
from recstack.loadtest.null_http import NullServer
from recstack.types import Query


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--qps", type=float, default=1000.0)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=64)
    options = parser.parse_args()
    rows, count = options.rows, int(options.qps * options.seconds)
    batch = Batch(
        dense=np.zeros((rows, 13), np.float32),
        user_dense=np.zeros((1, 0), np.float32),
        values=np.zeros(rows * 160, np.int32),
        lengths=np.full((8, rows), 20, np.int32),
        query_offsets=np.array([0, rows], np.int32),
    )
    scheduled = make_traffic(options.qps, count, seed=0).scheduled_ns
    found: dict[str, list[tuple[float, float, float, float]]] = {"whole": [], "one by one": []}
    with NullServer(rows) as server:
        for _ in range(options.rounds):
            for name, kept in found.items():
                with closing(server.client()) as client:
                    queries = [Query(0, batch)] * count
                    client.prepare(queries[:1])
                    config = DriverConfig(warmup=0, whole=name == "whole")
                    began = time.process_time()
                    run = drive(client, queries, scheduled, config=config)
                    cpu_us = (time.process_time() - began) / count * 1e6
                assert (run.status == 0).all(), run.errors
                shown = summarise(run)
                tail = [shown.latency_ns[p].value / 1e3 for p in (50.0, 99.0)]
                kept.append((cpu_us, *tail, shown.lateness_p99_ns / 1e3))
    names = ("cpu_us_per_query", "p50_us", "p99_us", "lateness_p99_us")
    report = {
        way: dict(zip(names, np.median(kept, axis=0).round(1).tolist(), strict=True))
        for way, kept in found.items()
    }
    ratio = np.median([b[0] / a[0] for a, b in zip(*found.values(), strict=True)])
    print(json.dumps({**report, "cpu": round(float(ratio), 2), "origin": "measured"}, indent=2))


if __name__ == "__main__":
    main()
