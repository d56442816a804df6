"""Contenders timed in turn, each alone on the cores while it has its turn."""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np

from recstack.bench.contender import Timed

ROUNDS = 9
ROUND_S = 0.1
FEWEST_RUNS = 3
SETTLE_S = 0.01
SETTLE_TRIES = 20
IDLE_SHARE = 0.05
WARM_SHARE = 0.1


T = TypeVar("T", bound=Timed)


@dataclass(slots=True)
class Entrant(Generic[T]):
    """A contender with its staged inputs and what was measured, nanoseconds per run by round.

    at: which input comes next; a turn goes on where the last one ended.
    """

    contender: T
    staged: Sequence[Any]
    rounds: list[list[int]] = field(default_factory=list)
    at: int = 0


def time_rounds(entrants: Sequence[Entrant[Any]], rounds: int, round_s: float = ROUND_S) -> None:
    """Give every entrant `rounds` turns of `round_s` seconds, one after another, into `rounds`.

    The order turns round with each round, so that nobody always follows the same neighbour. Before
    a turn the process is left alone until its threads sleep. A round before the first is not kept:
    for as long as a second after contenders are made, memory that they let go of slows who runs.
    """
    for number in range(-1, rounds):
        first = number % len(entrants)
        for entrant in (*entrants[first:], *entrants[:first]):
            settle()
            taken = _turn(entrant, round_s)
            if number >= 0:
                entrant.rounds.append(taken)


def settle() -> bool:
    """Wait until no thread of this process uses a core: idle pools spin for a while, then sleep.

    True when the process was idle at last; a fifth of a second is waited at most.
    """
    for _ in range(SETTLE_TRIES):
        start, used = time.perf_counter(), time.process_time()
        time.sleep(SETTLE_S)
        if time.process_time() - used < IDLE_SHARE * (time.perf_counter() - start):
            return True
    return False


def _turn(entrant: Entrant[Any], round_s: float) -> list[int]:
    """Nanoseconds of each run; a few unmeasured ones wake threads and fetch weights first."""
    run, staged = entrant.contender.run, entrant.staged
    taken: list[int] = []
    clock = time.perf_counter_ns
    collecting = gc.isenabled()
    gc.disable()
    try:
        with entrant.contender.turn():
            begin = clock()
            while clock() - begin < WARM_SHARE * round_s * 1e9:
                run(staged[entrant.at])
                entrant.at = (entrant.at + 1) % len(staged)
            until = clock() + round_s * 1e9
            while clock() < until or len(taken) < FEWEST_RUNS:
                given = staged[entrant.at]
                entrant.at = (entrant.at + 1) % len(staged)
                start = clock()
                run(given)
                taken.append(clock() - start)
    finally:
        if collecting:
            gc.enable()
    return taken


def summary_us(rounds: Sequence[Sequence[int]]) -> dict[str, Any]:
    """Median and quartiles of the rounds' medians, p99 and count of all runs; microseconds."""
    medians = [float(np.median(r)) / 1e3 for r in rounds]
    low, middle, high = (float(q) for q in np.quantile(medians, [0.25, 0.5, 0.75]))
    every = np.concatenate([np.asarray(r) for r in rounds])
    return {
        "us": middle,
        "quartiles_us": [low, high],
        "p99_us": float(np.quantile(every, 0.99)) / 1e3,
        "runs": int(every.size),
        "round_medians_us": medians,
    }


def spread(rounds: Sequence[Sequence[int]]) -> float:
    """p99 of all runs over the median over rounds of each round's median."""
    told = summary_us(rounds)
    return float(told["p99_us"] / told["us"])
