"""Contenders for one model, timed in turn on the same fresh inputs, answers compared first."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from recstack.batch import Batch
from recstack.data import random_batch
from recstack.engine.native import Engine
from recstack.errors import RecstackError
from recstack.model import Model
from recstack.model.ops import EmbeddingBag
from recstack.types import Scores

Quartiles = tuple[float, float, float]
ROUND_S = 0.25
COLD_BYTES = 256 << 20
FUSED_BYTES = 6 << 30


@dataclass(frozen=True, slots=True)
class Timing:
    """One batch size: quartiles over rounds of each round's median, in microseconds (measured)."""

    model: str
    rows: int
    threads: int
    isa: str
    batches: int
    recstack_us: Quartiles
    torch_us: Quartiles | None

    def as_dict(self) -> dict[str, Any]:
        """As plain data, with its origin."""
        return {"origin": "measured", **asdict(self)}


def compare(
    engine: Engine,
    sizes: Sequence[int],
    *,
    torch: bool = False,
    rounds: int = 5,
    seed: int = 0,
) -> Iterator[Timing]:
    """Time `engine` on batches of `sizes` rows; with `torch`, torch eager on as many threads.

    Torch reads the engine's own tables, on huge pages where those are, by one fused call for tables
    of one width; its inputs are tensors in the layout that suits it, made before the clock starts.
    The engine checks and reads the batch as it came. Inputs rotate among enough different batches
    that embedding rows of large tables do not stay in cache. Raises RecstackError when the
    contenders' scores differ by more than 1e-4.
    """
    model, threads = engine.model, engine.config.threads
    peer = _torch_peer(engine.placed, threads) if torch else None
    for rows in sizes:
        batches = _batches(model, rows, seed)
        contenders: list[tuple[Callable[[Any], Scores], list[Any]]] = [(engine.run, batches)]
        if peer is not None:
            contenders.append((peer.run_staged, [peer.stage(b) for b in batches]))
        _agree([run(inputs[0]) for run, inputs in contenders])
        medians: list[list[float]] = [[] for _ in contenders]
        for _ in range(rounds):
            for (run, inputs), found in zip(contenders, medians, strict=True):
                found.append(_round_us(run, inputs))
        quartiles = [_quartiles(m) for m in medians]
        yield Timing(
            model.name,
            rows,
            threads,
            engine.isa,
            len(batches),
            quartiles[0],
            quartiles[1] if torch else None,
        )


def _batches(model: Model, rows: int, seed: int) -> list[Batch]:
    """Batches that together read COLD_BYTES of table rows, within reason."""
    first = random_batch(model, rows, seed)
    width = max((model.weights[t].shape[1] for t in _tables(model)), default=0)
    count = int(np.clip(COLD_BYTES // max(first.values.size * width * 4, 1), 4, 256))
    return [first, *(random_batch(model, rows, seed + i) for i in range(1, count))]


def _tables(model: Model) -> set[str]:
    return {op.table for op in model.ops if isinstance(op, EmbeddingBag)}


def _torch_peer(model: Model, threads: int) -> Any:
    from recstack.engine.torch_executor import TorchExecutor, use_threads

    use_threads(threads)
    table_bytes = sum(model.weights[t].nbytes for t in _tables(model))
    return TorchExecutor(model, check=False, fuse_tables=table_bytes < FUSED_BYTES)


def _agree(scores: Sequence[Scores]) -> None:
    for other in scores[1:]:
        worst = float(np.abs(scores[0] - other).max(initial=0))
        if not worst <= 1e-4:
            raise RecstackError(f"expected equal scores before timing, got a difference of {worst}")


def _round_us(run: Callable[[Any], Scores], inputs: Sequence[Any]) -> float:
    """Median time of one batch over a round."""
    taken: list[int] = []
    until = time.perf_counter() + ROUND_S
    i = 0
    while len(taken) < 3 or time.perf_counter() < until:
        given = inputs[i % len(inputs)]
        i += 1
        start = time.perf_counter_ns()
        run(given)
        taken.append(time.perf_counter_ns() - start)
    return float(np.median(taken)) / 1e3


def _quartiles(values: Sequence[float]) -> Quartiles:
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return float(low), float(middle), float(high)
