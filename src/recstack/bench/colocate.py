"""Several models on one machine: what each lane loses to what runs on the others, measured.

Each model gets a lane on a core of its own and as many fresh batches as keep it busy; the batch
times in which both lanes ran are held against those of the same model alone. Alone and together
take turns, so that a machine that slows down slows both.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recstack import _native
from recstack.batch import Batch
from recstack.bench.inputs import make_inputs
from recstack.engine import EngineConfig, compile
from recstack.engine.native import Engine
from recstack.errors import ConfigError
from recstack.model import Model
from recstack.model.cost import describe
from recstack.schedule import Dispatcher, ScheduleConfig

# One core gathers about 12 GB/s of table rows and computes about 120 GFLOP/s (docs/peaks.md): a
# model with more bytes per FLOP than their ratio spends most of its time on tables.
EMBEDDING_BOUND = 0.1
MOST_BATCHES = 4096
TRIES = 5
DRAIN_NS = 600_000_000_000


@dataclass(frozen=True, slots=True)
class ColocateConfig:
    """How to measure.

    rows: of each batch. rounds: turns of each pair. round_s: length of a turn. inputs: as
    `bench.inputs`.
    """

    rows: int = 128
    rounds: int = 5
    round_s: float = 0.5
    inputs: str = "uniform"
    isa: str = "auto"
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Matrix:
    """What co-location costs.

    models: names. bytes_per_flop: table bytes over operations, modelled. alone_us: (models,) a
    batch on a lane alone. slowdown: (victim, beside) ratios to it, medians over rounds; low, high:
    the least and the most of the rounds.
    """

    models: tuple[str, ...]
    rows: int
    bytes_per_flop: tuple[float, ...]
    alone_us: tuple[float, ...]
    slowdown: tuple[tuple[float, ...], ...]
    low: tuple[tuple[float, ...], ...]
    high: tuple[tuple[float, ...], ...]

    def to_record(self) -> dict[str, Any]:
        """As a record of a result file."""
        return {"record": "colocation", "origin": "measured", **asdict(self), "trend": self.trend()}

    def trend(self) -> str:
        """Whether models that are bound by embedding tables suffer more, as published."""
        groups: dict[bool, list[int]] = {True: [], False: []}
        for i, share in enumerate(self.bytes_per_flop):
            groups[share >= EMBEDDING_BOUND].append(i)
        if not all(groups.values()):
            return "no comparison: all models are of one class"
        tables, compute = groups[True], groups[False]
        words = [
            f"{name} ({', '.join(self.models[i] for i in own)}) {_mean(self.slowdown, own):.3f}x"
            for name, own in (("embedding-bound", tables), ("compute-bound", compute))
        ]
        verdict = "not reproduced"
        if _mean(self.low, tables) > _mean(self.high, compute):
            verdict = "reproduced"
        elif _mean(self.slowdown, tables) > _mean(self.slowdown, compute):
            verdict = "in the medians, but within the spread of the rounds"
        return (
            f"slowdown beside another model: {', '.join(words)}; "
            f"published trend (embedding-bound models suffer more): {verdict}"
        )


def measure(
    models: Mapping[str, Model],
    config: ColocateConfig,
    cores: Sequence[int],
    watch: Callable[[str], None] = lambda text: None,
) -> Matrix:
    """The slowdown of each model beside each, itself included.

    Raises
    ------
    ConfigError: fewer than two cores, or no models.
    """
    if len(cores) < 2 or not models:
        raise ConfigError(f"expected models and two cores, got {len(models)} and {len(cores)}")
    names = tuple(models)
    with ExitStack() as stack:
        lanes = [
            [stack.enter_context(_Lane(engine, name, core, config)) for core in cores[:2]]
            for name, engine in _engines(models, config).items()
        ]
        alone: list[list[float]] = [[] for _ in names]
        ratios: dict[tuple[int, int], list[float]] = {}
        for _ in range(config.rounds):
            for v, victim in enumerate(lanes):
                for o, other in enumerate(lanes):
                    alone_ns = _median_ns(_together([victim[0]])[0])
                    beside_ns = _median_ns(_overlapping(victim[0], other[1]))
                    alone[v].append(alone_ns)
                    ratios.setdefault((v, o), []).append(beside_ns / alone_ns)
                watch(f"{names[v]}: {len(ratios[v, 0])} of {config.rounds} rounds")

    def over(pick: Callable[[Sequence[float]], Any]) -> tuple[tuple[float, ...], ...]:
        n = range(len(names))
        return tuple(tuple(float(pick(ratios[v, o])) for o in n) for v in n)

    return Matrix(
        models=names,
        rows=config.rows,
        bytes_per_flop=tuple(bytes_per_flop(model, config.rows) for model in models.values()),
        alone_us=tuple(float(np.median(times)) / 1e3 for times in alone),
        slowdown=over(np.median),
        low=over(min),
        high=over(max),
    )


def _mean(ratios: Sequence[Sequence[float]], victims: Sequence[int]) -> float:
    """The geometric mean over some victims and all that ran beside them."""
    return float(np.exp(np.mean(np.log([ratios[v] for v in victims]))))


def bytes_per_flop(model: Model, rows: int) -> float:
    """Table bytes that a batch gathers over its operations; modelled."""
    batch = describe(model, rows, 1).batch
    return batch.gather_bytes / max(batch.flops, 1)


def _engines(models: Mapping[str, Model], config: ColocateConfig) -> dict[str, Engine]:
    engines = {}
    for name, model in models.items():
        engine = compile(model, EngineConfig(isa=config.isa))
        if not isinstance(engine, Engine):
            raise ConfigError(f"expected a model that runs natively, got {name}")
        engines[name] = engine
    return engines


class _Lane:
    """A model on a core, with the batches of a turn."""

    def __init__(self, engine: Engine, name: str, core: int, config: ColocateConfig) -> None:
        made = make_inputs(engine.model, config.rows, config.inputs, config.seed + core)
        self._batches: list[Batch] = list(made.batches)
        schedule = ScheduleConfig(
            lanes=1, cores=((core,),), chunk_rows=config.rows, merge_rows=0,
            queue_queries=MOST_BATCHES, queue_rows=MOST_BATCHES * config.rows, spin_us=0.0,
        )  # fmt: skip
        self.name = name
        self._dispatcher = Dispatcher(_native.TeamFactory(engine.program, 1), schedule)
        self._count = len(self._batches)
        each_ns = _median_ns(self.run())
        self._count = int(min(max(config.round_s * 1e9 / each_ns, 10), MOST_BATCHES))

    def run(self) -> NDArray[np.int64]:
        """One turn: (n, 2) begin and end of each batch on the monotonic clock, ns."""
        self._dispatcher.begin_trace(self._count)
        which = np.arange(self._count, dtype=np.int32) % np.int32(len(self._batches))
        at_once = np.zeros(self._count, np.int64)
        self._dispatcher.issue_schedule(self._batches, which, at_once, drain_ns=DRAIN_NS)
        return self._dispatcher.traced()[:, 2:4]

    def __enter__(self) -> _Lane:
        return self

    def __exit__(self, *_: object) -> None:
        self._dispatcher.close(drain=False)


def _together(lanes: Sequence[_Lane]) -> list[NDArray[np.int64]]:
    """A turn of all lanes at once: the batches of each that ran while all ran."""
    found: dict[int, NDArray[np.int64]] = {}

    def run(i: int) -> None:
        found[i] = lanes[i].run()

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(lanes))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    begin = max(times[0, 0] for times in found.values())
    end = min(times[-1, 1] for times in found.values())
    return [
        times[(times[:, 0] >= begin) & (times[:, 1] <= end)] for _, times in sorted(found.items())
    ]


def _overlapping(victim: _Lane, other: _Lane) -> NDArray[np.int64]:
    """The victim's batches beside the other; again where the two missed each other."""
    for _ in range(TRIES):
        if (times := _together([victim, other])[0]).size:
            return times
    raise ConfigError(f"expected turns of {victim.name} and {other.name} that overlap: take longer")


def _median_ns(times: NDArray[np.int64]) -> float:
    return float(np.median(times[:, 1] - times[:, 0]))
