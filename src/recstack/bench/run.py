"""A model measured against its peers, cell by cell."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from recstack import results
from recstack.bench.contender import Absent, Contender, Setting, Unsupported
from recstack.bench.contenders import OWN, is_low, prepare
from recstack.bench.floors import beside_floor
from recstack.bench.inputs import MOST_BATCHES, Inputs, make_inputs
from recstack.bench.records import Cell, Found, Status, Store
from recstack.bench.steady import SteadyWork
from recstack.bench.timing import ROUND_S, ROUNDS, Entrant, spread, summary_us, time_rounds
from recstack.errors import RecstackError
from recstack.model import Model
from recstack.precision.plan import PrecisionPlan, read_plan
from recstack.types import Scores

TOLERANCE = 1e-4
LOW_TOLERANCE = 0.05  # of scores at low precision, whose error is reported
SAMPLES = 100


class BenchConfig(BaseModel):
    """What to measure; frozen, unknown keys are errors.

    rows, threads: every pair is a cell. peers: names of `recstack.bench.contenders`, recstack's own
        low-precision ones among them.
    isa: "auto", or "avx2" for recstack and peers alike. inputs: as in `make_inputs`.
    rounds: turns of each contender, of `round_s` seconds. most_batches: of one size.
    plan: file of a precision plan, for the contender "recstack_plan".
    cache: folder of compiled artifacts; may_compile: whether what it lacks may be compiled.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    rows: tuple[int, ...]
    threads: tuple[int, ...] = (1,)
    peers: tuple[str, ...] = ()
    isa: str = "auto"
    inputs: str = "uniform"
    rows_scale: float = 1.0
    seed: int = 0
    rounds: int = Field(default=ROUNDS, ge=1)
    round_s: float = Field(default=ROUND_S, gt=0)
    most_batches: int = Field(default=MOST_BATCHES, ge=1)
    plan: Path | None = None
    cache: Path
    may_compile: bool = True


Report = Callable[[str], None]


def bench(
    model: Model, config: BenchConfig, store: Store | None = None, report: Report = lambda _: None
) -> list[Cell]:
    """All cells of `config`; those that `store` has are taken from it, new ones put there.

    Scores are compared before anything is timed: a peer that differs from recstack's fp32 by more
    than TOLERANCE, at low precision LOW_TOLERANCE, is reported and not timed. Raises RecstackError
    when every peer differs.
    """
    cells = []
    git = results.git_revision()
    plan = read_plan(config.plan) if config.plan else None
    for threads in config.threads:
        for rows in config.rows:
            asked = _question(model, config, rows, threads, git)
            names = ("recstack", *config.peers)
            cell = store.find(asked, names) if store else None
            if cell is None:
                report(f"{model.name}: {rows} rows, {threads} thread(s)")
                cell = _measure(model, config, asked, names, plan)
                if store:
                    store.put(cell)
            cells.append(cell)
    return cells


def _question(model: Model, config: BenchConfig, rows: int, threads: int, git: str) -> Cell:
    return Cell(
        model=model.name,
        rows=rows,
        threads=threads,
        isa=config.isa,
        inputs=config.inputs,
        rows_scale=config.rows_scale,
        seed=config.seed,
        plan=_named(config.plan) if config.plan else "",
        git=git,
        batches=0,
        cold_bytes=0,
        found=(),
    )


def _named(plan: Path) -> str:
    """The name of a plan's file, and its contents in short."""
    return f"{plan.name} {hashlib.blake2b(plan.read_bytes(), digest_size=6).hexdigest()}"


def _measure(
    model: Model,
    config: BenchConfig,
    asked: Cell,
    names: Sequence[str],
    plan: PrecisionPlan | None,
) -> Cell:
    setting = Setting(
        asked.rows,
        asked.threads,
        config.isa,
        config.cache,
        config.may_compile,
        plan,
    )
    inputs = make_inputs(model, asked.rows, config.inputs, config.seed, config.most_batches)
    line = [_line_up(name, model, setting, inputs) for name in names]
    line = _compared(line, inputs)
    entrants = [place.entrant for place in line if place.entrant is not None]
    steady = _steady(entrants[0])
    time_rounds([*entrants, steady], config.rounds, config.round_s)
    found = tuple(_found(place) for place in line)
    return asked.model_copy(
        update={
            "batches": len(inputs.batches),
            "cold_bytes": inputs.cold_bytes,
            "found": found,
            "steady_spread": spread(steady.rounds),
            **beside_floor(model, asked.rows, asked.threads, config.isa, found[0].us),
        }
    )


@dataclass(frozen=True, slots=True)
class _Place:
    """A contender that was asked for: an entrant, or why there is none."""

    name: str
    title: str = ""
    version: str = ""
    entrant: Entrant[Contender] | None = None
    status: Status = "ok"
    reason: str = ""
    error: float = 0.0


def _line_up(name: str, model: Model, setting: Setting, inputs: Inputs) -> _Place:
    try:
        contender: Contender = prepare(name, model, setting)
        entrant = Entrant(contender, [contender.stage(b) for b in inputs.batches])
        return _Place(name, contender.name, contender.version(), entrant)
    except Absent as error:
        return _Place(name, status="missing", reason=str(error))
    except Unsupported as error:
        return _Place(name, status="unsupported", reason=str(error))
    except Exception as error:
        if name in OWN:
            raise
        # A peer may fail in any way, and the others are still worth their numbers.
        return _Place(name, status="failed", reason=_first_line(error))


def _compared(line: Sequence[_Place], inputs: Inputs) -> list[_Place]:
    """The places again; peers whose scores differ from recstack's have lost their entrant."""
    own = line[0].entrant
    assert own is not None
    places = sorted({0, len(inputs.batches) - 1})
    want = [_scores(own, i) for i in places]
    checked = [line[0], *(_checked(place, places, want) for place in line[1:])]
    differing = [p for p in checked if p.status == "disagrees"]
    if differing and not any(p.entrant for p in checked[1:]):
        raise RecstackError(f"expected equal scores: {differing[0].title} {differing[0].reason}")
    return checked


def _checked(place: _Place, places: Sequence[int], want: Sequence[Scores]) -> _Place:
    if place.entrant is None:
        return place
    try:
        got = [_scores(place.entrant, i) for i in places]
        far = [float(np.abs(a - b).max(initial=0.0)) for a, b in zip(want, got, strict=True)]
    except Exception as error:
        return replace(place, entrant=None, status="failed", reason=_first_line(error))
    if max(far) <= (LOW_TOLERANCE if is_low(place.name) else TOLERANCE):
        return replace(place, error=max(far))
    reason = f"scores differ from recstack's by {max(far):.3g}"
    return replace(place, entrant=None, status="disagrees", reason=reason)


def _steady(own: Entrant[Contender]) -> Entrant[SteadyWork]:
    with own.contender.turn():
        work = SteadyWork(lambda: own.contender.run(own.staged[0]))
    return Entrant(work, [None])


def _scores(entrant: Entrant[Contender], i: int) -> Scores:
    with entrant.contender.turn():
        return np.array(entrant.contender.scores(entrant.contender.run(entrant.staged[i])))


def _found(place: _Place) -> Found:
    told: dict[str, Any] = {
        "contender": place.name,
        "name": place.title or place.name,
        "version": place.version,
    }
    if place.entrant is None:
        return Found(**told, status=place.status, reason=place.reason)
    rounds = place.entrant.rounds
    told["error"] = place.error
    return Found(**told, **summary_us(rounds), samples_ns=tuple(_thinned(r) for r in rounds))


def _thinned(runs: Sequence[int]) -> tuple[int, ...]:
    """At most SAMPLES of `runs`, evenly spread."""
    at = np.linspace(0, len(runs) - 1, min(SAMPLES, len(runs))).astype(int)
    return tuple(runs[i] for i in at)


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:200] if text else ''}"
