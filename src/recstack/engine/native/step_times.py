"""Where a run's time goes, step by step: the program with a clock between its steps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from recstack import _native
from recstack.batch import Batch, ScopeName
from recstack.engine.native.build import make_plan
from recstack.engine.native.engine import Engine, fault

FEW = 8


@dataclass(frozen=True, slots=True)
class StepTime:
    """One step of a program: wall time per run on one thread, median over runs (measured).

    On a machine that others use, whose turns a long step's median includes, `least_ns` is the
    better guess.
    """

    kind: str
    scope: ScopeName
    value: str
    ints: tuple[int, ...]
    ns: float
    least_ns: float


def step_times(engine: Engine, batches: Sequence[Batch], runs: int = 30) -> tuple[StepTime, ...]:
    """Time every step of `engine`'s program over `runs` runs, the batches in turn, on one thread.

    A reading of the clock between steps costs some 25 ns, which each step's time includes. Raises
    as `Engine.run` does. Only engines made of one program have steps; a HybridEngine does not.

    >>> import recstack as rs
    >>> model = rs.zoo.build("ncf", rows_scale=0.001)
    >>> times = step_times(rs.compile(model), [rs.data.random_batch(model, rows=4)], runs=3)
    >>> times[0].kind, times[0].scope
    ('bags', 'user')
    """
    factory = _native.StepTimes(engine.program)
    runner = _native.Runner(factory)
    found = []
    for run in range(runs + 1):
        b = batches[run % len(batches)]
        factory.clear()
        given = (b.dense, b.user_dense, b.values, b.lengths, b.query_offsets, b.weights)
        if runner.run(*given, None) is None:
            raise fault(engine.model, b, None)
        found.append(factory.read())
    del found[0]  # the first run brings the workspace into cache
    steps = make_plan(
        engine.model, hoist=engine.config.hoist, precision=engine.config.precision
    ).steps
    times = []
    scopes: tuple[ScopeName, ...] = ("user", "item")
    for i, scope in enumerate(scopes):
        own = [step for step in steps if step.scope == scope]
        for at, step in enumerate(own):
            ns = [read[i][at] for read in found]
            times.append(StepTime(step.kind, scope, step.value, step.ints, median(ns), min(ns)))
    return tuple(times)


def format_step_times(times: Iterable[StepTime]) -> str:
    """A table, one line per step; more than FEW steps of one kind and scope share a line."""
    groups: dict[tuple[str, str], list[StepTime]] = {}
    for time in times:
        groups.setdefault((time.scope, time.kind), []).append(time)
    shared = [[g] if len(g) > FEW else [[t] for t in g] for g in groups.values()]
    total = sum(t.ns for g in groups.values() for t in g) or 1.0
    lines = [f"{'us':>10}  {'least':>10}  share  scope  steps  kind"]
    for group in (part for parts in shared for part in parts):
        ns, least = sum(t.ns for t in group), sum(t.least_ns for t in group)
        names = group[0].value if len(group) == 1 else f"{group[0].value} .. {group[-1].value}"
        ints = " ".join(map(str, group[0].ints[:6]))
        lines.append(
            f"{ns / 1e3:10.2f}  {least / 1e3:10.2f}  {ns / total:5.1%}  {group[0].scope:5}  "
            f"{len(group):5}  {group[0].kind} ({ints}) {names}"
        )
    return "\n".join([*lines, f"{total / 1e3:10.2f}  total"])
