"""What user scope, and hoisting the user's part of layers, gain on one query of many candidates.

    python bench/across_query.py                        # 1 query x 100 candidates, 1 thread
    python bench/across_query.py --rows 1,16,100,400 --rows-scale 0.1 --out out/across.jsonl

RM1 with half its tables user-scope, DIEN and the bundled MovieLens DIN with user-scope histories.
Three contenders on the same queries, in turn: every feature spelled out for every row ("item"),
user features once per query ("user"), and the user's part of layers once per query too ("hoisted").
What is counted and modelled is printed before anything is timed. Times are the thread's own.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path

import numpy as np

from recstack import results
from recstack.batch import Batch, DenseInput, SparseInput, feature_lengths, pack_lengths
from recstack.data import random_batch
from recstack.engine import Engine, EngineConfig
from recstack.engine.native.build import make_plan
from recstack.engine.native.plan import Step
from recstack.model import Model, build, load, zoo
from recstack.model.cost import describe

DIN = Path(__file__).parent.parent / "examples/movielens/models/din"
COLD_BYTES = 256 << 20
L2_BYTES_PER_NS = 116
ROUND_S = 0.15
Contender = tuple[Callable[[Batch], object], Sequence[Batch]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", default="100", help="candidates per query")
    parser.add_argument("--rows-scale", type=float, default=1.0, help="of the zoo's tables")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--isa", default="auto")
    parser.add_argument("--gflops", type=float, default=117.0, help="for the model: FMA peak")
    parser.add_argument("--lookup-ns", type=float, default=11.0, help="for the model: one cold row")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    models: tuple[Callable[[], Model], ...] = (
        lambda: zoo.build("rm1", rows_scale=given.rows_scale, user_scope_tables=4),
        lambda: zoo.build("dien", rows_scale=given.rows_scale),
        lambda: load(DIN),
    )
    records = []
    for make in models:
        model = make()
        for rows in map(int, given.rows.split(",")):
            counted = count(model, rows, given.gflops, given.lookup_ns)
            timed = measure(model, rows, EngineConfig(isa=given.isa), given.rounds)
            records += [{"model": model.name, "rows": rows, **r} for r in (*counted, *timed)]
    if given.out:
        results.write(given.out, "bench", records, seed=0)


def count(model: Model, rows: int, gflops: float, lookup_ns: float) -> list[dict[str, object]]:
    """Multiply-adds and lookups of a query, and the time they take at the given rates (modelled).

    Lookups that a query repeats for every row find their table rows in the L2 cache.
    """
    once = describe(model, rows=rows).batch.lookups
    found: list[dict[str, object]] = []
    for name, scoped in (("item", without_scopes(model)), ("user", model), ("hoisted", model)):
        macs = sum(
            step_macs(step) * (rows if step.scope == "item" else 1)
            for step in make_plan(scoped, hoist=name == "hoisted").steps
        )
        batch = describe(scoped, rows=rows).batch
        repeated = (1 - once / batch.lookups) * batch.gather_bytes / L2_BYTES_PER_NS
        us = (2 * macs / gflops + once * lookup_ns + repeated) / 1e3
        record = {"macs": macs, "lookups": batch.lookups, "us": us}
        found.append({"origin": "modelled", "contender": name, **record})
        print(
            f"{model.name} x {rows}, {name}: {macs / 1e6:.2f} M multiply-adds, "
            f"{batch.lookups} lookups: modelled {us:.0f} us"
        )
    return found


def step_macs(step: Step) -> int:
    """Multiply-adds with weights that a step of a plan does per entry of its scope."""
    if step.kind == "linear":
        return prod(step.ints[:3])
    if step.kind == "recurrence":
        positions, hidden = step.ints[:2]
        return positions * 3 * hidden * hidden
    return 0


def measure(model: Model, rows: int, config: EngineConfig, rounds: int) -> list[dict[str, object]]:
    """Median microseconds of each contender per round, answers compared first (measured)."""
    count = int(np.clip(COLD_BYTES // (rows * 64 << 10), 4, 64))
    queries = [random_batch(model, rows=rows, seed=i) for i in range(count)]
    apart = [spelled_out(model, q) for q in queries]
    contenders: dict[str, Contender] = {
        "item": (Engine(without_scopes(model), config).run, apart),
        "user": (Engine(model, config.model_copy(update={"hoist": False})).run, queries),
        "hoisted": (Engine(model, config).run, queries),
    }
    want = contenders["item"][0](apart[0])
    for run, batches in contenders.values():
        np.testing.assert_allclose(run(batches[0]), want, rtol=1e-5, atol=1e-6)
    medians: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            medians[name].append(_round_us(*contender))
    hoisted = np.array(medians["hoisted"])
    for name, us in medians.items():
        ratio = np.median(np.array(us) / hoisted)
        low, middle, high = np.quantile(us, [0.25, 0.5, 0.75])
        print(
            f"{model.name} x {rows}, {name}: measured {middle:.1f} us ({low:.1f} to {high:.1f}), "
            f"{ratio:.2f} times hoisted",
            flush=True,
        )
    return [
        {"origin": "measured", "contender": name, "round_medians_us": us}
        for name, us in medians.items()
    ]


def without_scopes(model: Model) -> Model:
    """The same model with every input item-scope."""
    inputs = tuple(i.model_copy(update={"scope": "item"}) for i in model.inputs)
    return build(model.description.model_copy(update={"inputs": inputs}), model.weights)


def spelled_out(model: Model, batch: Batch) -> Batch:
    """`batch` for `without_scopes(model)`: the user's features repeated for every row."""
    query_of_row = np.repeat(np.arange(batch.queries), np.diff(batch.query_offsets))
    sources = {"item": batch.dense, "user": batch.user_dense[query_of_row]}
    at = {"item": 0, "user": 0}
    dense = [np.zeros((batch.rows, 0), np.float32)]
    lengths, values, first = [], [], 0
    per_feature = iter(feature_lengths(model.inputs, batch))
    for item in model.inputs:
        if isinstance(item, DenseInput):
            column = at[item.scope]
            dense.append(sources[item.scope][:, column : column + item.width])
            at[item.scope] += item.width
        elif isinstance(item, SparseInput):
            own = next(per_feature)
            entry = query_of_row if item.scope == "user" else np.arange(batch.rows)
            starts = first + np.cumsum(own) - own
            spans = [np.arange(starts[e], starts[e] + own[e]) for e in entry]
            values.append(batch.values[np.concatenate(spans)])
            lengths.append(own[entry])
            first += int(own.sum())
    inputs = without_scopes(model).inputs
    return batch.replace(
        dense=np.concatenate(dense, axis=1),
        user_dense=np.zeros((batch.queries, 0), np.float32),
        values=np.concatenate(values),
        lengths=pack_lengths(inputs, lengths),
    )


def _round_us(run: Callable[[Batch], object], batches: Sequence[Batch]) -> float:
    """Median time of one query over a round: this thread's own, other work's turns left out."""
    taken: list[int] = []
    until = time.perf_counter() + ROUND_S
    while len(taken) < len(batches) or time.perf_counter() < until:
        batch = batches[len(taken) % len(batches)]
        start = time.thread_time_ns()
        run(batch)
        taken.append(time.thread_time_ns() - start)
    return float(np.median(taken)) / 1e3


if __name__ == "__main__":
    main()
