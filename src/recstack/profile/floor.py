"""The floor: the least time that a batch can take on a machine, from counts and measured peaks.

Every op does arithmetic and reads weights or table rows; neither can be quicker than the machine's
peaks (`recstack.machine.peaks`). Per op and in total

    compute = FLOPs / peak of multiply-adds
    weights = bytes of the weights / bandwidth of the level that holds all dense weights together
    gather  = lookups * time of a lookup of such a row from the level that holds it
    floor   = max(compute, weights + gather)

docs/engine.md discusses what is counted, and why the total is not the sum of the ops' floors.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import prod
from typing import Any, Literal

from recstack.errors import ConfigError
from recstack.machine.peaks import Level, Peaks
from recstack.model.cost import OpCost, Scope, describe
from recstack.model.model import Model
from recstack.model.ops import Constant
from recstack.profile.gather import gather_ns
from recstack.profile.reading import weights_level, weights_ns_per_byte

Bound = Literal["compute", "weights", "gather"]


@dataclass(frozen=True, slots=True)
class Times:
    """Modelled nanoseconds of arithmetic, of reading weights, and of reading table rows."""

    compute_ns: float
    weights_ns: float
    gather_ns: float

    @property
    def memory_ns(self) -> float:
        """Reading weights and table rows: one core's misses share its queue, so they add up."""
        return self.weights_ns + self.gather_ns

    @property
    def ns(self) -> float:
        """The larger of compute and memory: arithmetic can run while rows and weights arrive."""
        return max(self.compute_ns, self.memory_ns)

    @property
    def bound(self) -> Bound:
        """What the larger one is made of."""
        if self.compute_ns >= self.memory_ns:
            return "compute"
        return "weights" if self.weights_ns >= self.gather_ns else "gather"


@dataclass(frozen=True, slots=True)
class OpFloor(Times):
    """One op in one batch.

    flops, lookups, gather_bytes: of all rows (item scope) or all queries (user scope).
    weight_bytes: of the weights that no op before it reads; they are read once per batch.
    """

    name: str
    kind: str
    scope: Scope
    flops: int
    weight_bytes: int
    lookups: int
    gather_bytes: int


@dataclass(frozen=True, slots=True)
class Floor(Times):
    """A batch of `rows` rows in `queries` queries on `threads` threads (modelled).

    `ns` is the floor: the larger of all compute and all reading, which no order of the work can
    pass. `serial_ns` is what ops one after another need at least.
    isa: instruction set of the compute peak; None: the fastest.
    weights_level: the level that holds all dense weights, split over the threads.
    """

    model: str
    rows: int
    queries: int
    threads: int
    isa: str | None
    weights_level: Level
    ops: tuple[OpFloor, ...]

    @property
    def serial_ns(self) -> float:
        """Sum of the ops' floors: nothing of one op overlaps with another."""
        return sum(op.ns for op in self.ops)

    @property
    def flops(self) -> int:
        """Floating-point operations, a multiply-add as two."""
        return sum(op.flops for op in self.ops)

    @property
    def weight_bytes(self) -> int:
        """Bytes of dense weights, each read once."""
        return sum(op.weight_bytes for op in self.ops)

    @property
    def gather_bytes(self) -> int:
        """Bytes of table rows."""
        return sum(op.gather_bytes for op in self.ops)

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data that JSON can hold, derived numbers included."""
        derived = ("memory_ns", "ns", "bound")
        own = {f: getattr(self, f) for f in (*derived, "serial_ns")}
        own |= {f: getattr(self, f) for f in ("flops", "weight_bytes", "gather_bytes")}
        ops = [{**asdict(op), **{f: getattr(op, f) for f in derived}} for op in self.ops]
        return {"origin": "modelled", **asdict(self), **own, "ops": ops}


def floor(
    model: Model, rows: int, threads: int, peaks: Peaks, queries: int = 1, isa: str | None = None
) -> Floor:
    """The least time of a batch of `rows` rows in `queries` queries, on `threads` threads.

    Parameters
    ----------
    model: read for its shapes alone, so an outline of the zoo will do. Counted as it stands: a
        rewrite that computes the same by fewer operations has a lower floor.
    rows, queries: >= 0; a batch without rows asks for nothing. Ragged bags count with their
        expected length.
    peaks: of the machine, for as many threads.
    isa: instruction set of the compute peak; None: the fastest that was measured.

    Raises
    ------
    ConfigError: rows or queries is negative, threads is below 1, or the peaks lack what is needed.
    """
    if threads < 1:
        raise ConfigError(f"expected threads >= 1, got {threads}")
    cost = describe(model, rows, queries)
    times: dict[Scope, int] = {"item": rows, "user": queries if rows else 0, "const": 0}
    weights = list(_weight_bytes(model))
    dense_bytes = sum(weights)
    flop_ns = 1e9 / peaks.ops_per_s(threads, isa=isa)
    byte_ns = weights_ns_per_byte(peaks, dense_bytes, threads) if dense_bytes else 0.0
    gathers = gather_ns(model, cost.ops, times, threads, peaks)
    ops = tuple(
        _op_floor(op, times[op.scope], size, flop_ns, byte_ns, gather)
        for op, size, gather in zip(cost.ops, weights, gathers, strict=True)
    )
    return Floor(
        compute_ns=sum(op.compute_ns for op in ops),
        weights_ns=sum(op.weights_ns for op in ops),
        gather_ns=sum(op.gather_ns for op in ops),
        model=model.name,
        rows=rows,
        queries=queries,
        threads=threads,
        isa=isa,
        weights_level=weights_level(peaks, dense_bytes, threads),
        ops=ops,
    )


def _op_floor(
    op: OpCost, times: int, weight_bytes: int, flop_ns: float, byte_ns: float, gather: float
) -> OpFloor:
    read = weight_bytes if times else 0
    return OpFloor(
        compute_ns=times * op.flops * flop_ns,
        weights_ns=read * byte_ns,
        gather_ns=gather,
        name=op.name,
        kind=op.kind,
        scope=op.scope,
        flops=times * op.flops,
        weight_bytes=read,
        lookups=times * op.lookups,
        gather_bytes=times * op.gather_bytes,
    )


def _weight_bytes(model: Model) -> Iterator[int]:
    """Per op, the bytes of its dense weights that no op before it reads.

    A constant counts with the op that reads it; ops on constants alone run when a plan is made.
    """
    made = {op.output: op for op in model.ops}
    seen: set[str] = set()
    for op in model.ops:
        if op.kind == "embedding_bag" or model.values[op.output].scope == "const":
            yield 0
            continue
        makers = (made.get(name) for name in op.inputs)
        constants = (m.weight for m in makers if isinstance(m, Constant))
        new = {*op.weights(), *constants} - seen
        seen |= new
        yield sum(4 * prod(model.weights[name].shape) for name in new)
