"""The simulator against the formulas of queueing theory, and how fast it is.

    python bench/queueing_theory.py                     # 10 M arrivals each; about two minutes

M/M/1, M/M/c, M/D/1 and M/G/1 (lognormal): the mean wait of Erlang and of Pollaczek-Khinchine, and
the 95th percentile of the time in system of M/M/1 and M/M/c. Exit 1 where a mean is more than 1%
off, or a percentile more than 2%. All simulated; the rate is measured, on one core.
"""

from __future__ import annotations

import argparse
import math
import sys
import time

import numpy as np
from scipy.optimize import brentq

from recstack.loadtest import Traffic
from recstack.loadtest.arrivals import poisson
from recstack.schedule import ScheduleConfig
from recstack.simulate import Lanes, Service, simulate

MEAN_NS = 100_000.0
# label, lanes, load, spread, sigma
SYSTEMS = (
    ("M/M/1", 1, 0.6, "exponential", 0.0),
    ("M/M/2", 2, 0.8, "exponential", 0.0),
    ("M/M/8", 8, 0.8, "exponential", 0.0),
    ("M/M/40", 40, 0.9, "exponential", 0.0),
    ("M/D/1", 1, 0.7, "none", 0.0),
    ("M/G/1", 1, 0.6, "lognormal", 0.8),
)


def erlang_c(lanes: int, rho: float) -> float:
    """The share of arrivals that wait in M/M/c."""
    load = lanes * rho
    last = load**lanes / math.factorial(lanes) / (1 - rho)
    return last / (sum(load**k / math.factorial(k) for k in range(lanes)) + last)


def mean_wait(lanes: int, rho: float, spread: str, sigma: float) -> float:
    """In service times."""
    if lanes > 1:
        return erlang_c(lanes, rho) / (lanes * (1 - rho))
    variation = {"exponential": 1.0, "none": 0.0, "lognormal": math.exp(sigma**2) - 1}[spread]
    return rho * (1 + variation) / (2 * (1 - rho))


def p95_in_system(lanes: int, rho: float) -> float:
    """Of M/M/c, in service times."""
    waits, drain = erlang_c(lanes, rho), lanes * (1 - rho)

    def tail(t: float) -> float:
        if abs(drain - 1) < 1e-9:
            return math.exp(-t) * (1 + waits * t)
        late = (drain * math.exp(-t) - math.exp(-drain * t)) / (drain - 1)
        return (1 - waits) * math.exp(-t) + waits * late

    return float(brentq(lambda t: tail(t) - 0.05, 0.0, 500.0))


def main() -> None:
    """Print each system; exit 1 past the tolerances."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arrivals", type=int, default=10_000_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    schedule = ScheduleConfig(merge_rows=0, queue_queries=1 << 20, queue_rows=1 << 40)
    ok = True
    print("system     mean wait / theory   p95 / theory   M queries/s  (simulated)")
    for label, lanes, rho, spread, sigma in SYSTEMS:
        rng = np.random.default_rng(args.seed)
        arrivals = poisson(rho * lanes * 1e9 / MEAN_NS, args.arrivals, rng)
        traffic = Traffic(arrivals, np.ones(args.arrivals, np.int64))
        kinds = [Lanes(lanes, Service.constant(MEAN_NS, spread=spread, sigma=sigma))]
        began = time.process_time()
        run = simulate(schedule, traffic, kinds, seed=args.seed).run
        took = time.process_time() - began
        wait = run.stages_ns["queue"].mean() / MEAN_NS / mean_wait(lanes, rho, spread, sigma)
        ok &= abs(wait - 1) <= 0.01
        p95 = ""
        if spread == "exponential":
            ratio = np.quantile(run.stages_ns["total"], 0.95) / MEAN_NS / p95_in_system(lanes, rho)
            ok &= abs(ratio - 1) <= 0.02
            p95 = f"{ratio:.4f}"
        print(f"{label:8s} {wait:18.4f} {p95:>14s} {args.arrivals / took / 1e6:13.2f}", flush=True)
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
