"""What a query costs the HTTP load client, in CPU and latency: a whole schedule or one by one.

    python bench/load_client.py [--qps 1000] [--seconds 3] [--rounds 5] [--rows 64]
    python bench/load_client.py --spin-us 0,50,100,200 --model examples/movielens/models/wnd \\
        --url http://127.0.0.1:8000     # which `recstack serve` of that model answers

All ways send the same queries in turns: to a null server in a process of its own, also one by one,
or of production sizes to that at `--url`. Prints JSON: medians over rounds, and `cpu` the ratio of
CPU per query, one by one over the first way.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace

import numpy as np

from recstack.batch import Batch
from recstack.loadtest import (
    DriverConfig,
    HttpConfig,
    HttpSUT,
    Traffic,
    drive,
    make_queries,
    make_traffic,
    sizes,
    summarise,
)
from recstack.loadtest.null_http import MODEL, NullServer
from recstack.loadtest.oip import Metadata
from recstack.model import load
from recstack.tune import random_queries
from recstack.types import Query

NAMES = ("cpu_us_per_query", "p50_us", "p99_us", "lateness_p50_us", "lateness_p99_us")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--qps", type=float, default=1000.0)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--spin-us", default="0", help="before each time; several with commas")
    parser.add_argument("--url", help="a server")
    parser.add_argument("--model", help="the folder of what it serves")
    options = parser.parse_args()
    spins = [float(x) for x in options.spin_us.split(",")]
    ways = {f"whole, {spin:g} us spun": (True, spin) for spin in spins}
    if not options.url:
        ways["one by one"] = False, 0.0
    found: dict[str, list[tuple[float, ...]]] = {way: [] for way in ways}
    with _server(options) as (config, metadata, queries, traffic):
        for _ in range(options.rounds):
            for way, (whole, spin_us) in ways.items():
                with closing(HttpSUT(replace(config, spin_us=spin_us), metadata)) as client:
                    client.prepare(queries)
                    found[way].append(_run(client, queries, traffic, whole))
    report: dict[str, object] = {
        way: dict(zip(NAMES, np.median(kept, axis=0).round(1).tolist(), strict=True))
        for way, kept in found.items()
    }
    if each := found.get("one by one"):
        first = next(iter(found.values()))
        ratio = np.median([b[0] / a[0] for a, b in zip(first, each, strict=True)])
        report["cpu"] = round(float(ratio), 2)
    print(json.dumps({**report, "origin": "measured"}, indent=2))


@contextmanager
def _server(
    options: argparse.Namespace,
) -> Iterator[tuple[HttpConfig, Metadata | None, Sequence[Query], Traffic]]:
    """Where a server is, what it says of its model if it does, and what it is sent."""
    count = int(options.qps * options.seconds)
    if options.url:
        model = load(options.model)
        production = sizes.parse("production")
        traffic = make_traffic(options.qps, count, seed=0, distribution=production)
        queries = make_queries(random_queries(model, 0), traffic.rows)
        yield HttpConfig(options.url, model.name), None, queries, traffic
        return
    with NullServer(options.rows) as server:
        traffic = make_traffic(options.qps, count, seed=0)
        metadata = Metadata(MODEL, {}, ("scores",))
        queries = [Query(0, _batch(options.rows))] * count
        yield HttpConfig(server.url, MODEL), metadata, queries, traffic


def _run(
    client: HttpSUT, queries: Sequence[Query], traffic: Traffic, whole: bool
) -> tuple[float, ...]:
    config = DriverConfig(warmup=0, whole=whole)
    began = time.process_time()
    run = drive(client, queries, traffic.scheduled_ns, config=config)
    cpu_us = (time.process_time() - began) / len(queries) * 1e6
    assert (run.status == 0).all(), run.errors
    latency = summarise(run).latency_ns
    lateness = np.percentile(run.issued_ns - run.scheduled_ns, (50, 99))
    return cpu_us, *(latency[p].value / 1e3 for p in (50.0, 99.0)), *(lateness / 1e3)


def _batch(rows: int) -> Batch:
    return Batch(
        dense=np.zeros((rows, 13), np.float32),
        user_dense=np.zeros((1, 0), np.float32),
        values=np.zeros(rows * 160, np.int32),
        lengths=np.full((8, rows), 20, np.int32),
        query_offsets=np.array([0, rows], np.int32),
    )


if __name__ == "__main__":
    main()
