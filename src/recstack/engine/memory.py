"""What an engine holds in memory, and what building it took."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from recstack.engine.tables import Kind, Tables
from recstack.memory import huge_bytes
from recstack.model import Model

WHERE = {
    "huge": "copied into memory",
    "mapped": "mapped from file",
    "shared": "in the model's memory",
}


@dataclass(frozen=True, slots=True)
class BuildCost:
    """What building a program took (measured) and what it holds.

    plan_ms: from the model to steps. packing_ms: to a native program, weights packed.
    packed_weight_bytes: of dense weights, without the padding of their panels.
    workspace_bytes: of one executor; every thread of every lane has its own.
    """

    plan_ms: float
    packing_ms: float
    packed_weight_bytes: int
    workspace_bytes: int


@dataclass(frozen=True, slots=True)
class EngineMemory:
    """An engine's memory; a table that several ops read counts once.

    table_memory: huge, mapped or shared, as `recstack.engine.tables.Tables.kind`; table_reason says
        why.
    huge_page_bytes: bytes of tables that lie on huge pages now, as the kernel counts them
        (measured); fewer than table_bytes where the kernel had none free.
    tables_ms: what reading the tables into huge pages took; 0 where they stayed or were there.
    plan_ms, packing_ms, packed_weight_bytes: as `BuildCost`, summed over an engine's stages.
    workspace_bytes_per_executor: of one executor; every thread of every lane has its own.
    """

    table_bytes: int
    table_memory: Kind
    table_reason: str
    huge_page_bytes: int
    packed_weight_bytes: int
    workspace_bytes_per_executor: int
    tables_ms: float
    plan_ms: float
    packing_ms: float

    def __str__(self) -> str:
        huge = ""
        if self.table_memory != "mapped":
            share = self.huge_page_bytes / max(self.table_bytes, 1)
            huge = f", {share:.0%} of them on huge pages"
        took = f"planned in {self.plan_ms:.0f} ms, packed in {self.packing_ms:.0f} ms"
        if self.tables_ms:
            took += f", tables read in {self.tables_ms / 1e3:.1f} s"
        return (
            f"tables {_size(self.table_bytes)} {WHERE[self.table_memory]}{huge}"
            f" ({self.table_reason}); dense weights {_size(self.packed_weight_bytes)} packed; "
            f"workspace {_size(self.workspace_bytes_per_executor)} per executor; {took}"
        )

    def to_record(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def engine_memory(
    model: Model, tables: Tables, tables_ms: float, costs: Iterable[BuildCost]
) -> EngineMemory:
    """What an engine of these programs holds now; `model` has its tables where `tables` says."""
    costs = list(costs)
    arrays = [model.weights[name] for name in tables.names]
    ranges = [(a.ctypes.data, a.ctypes.data + a.nbytes) for a in arrays]
    return EngineMemory(
        table_bytes=sum(a.nbytes for a in arrays),
        table_memory=tables.kind,
        table_reason=tables.reason,
        huge_page_bytes=huge_bytes(ranges),
        packed_weight_bytes=sum(c.packed_weight_bytes for c in costs),
        workspace_bytes_per_executor=sum(c.workspace_bytes for c in costs),
        tables_ms=tables_ms,
        plan_ms=sum(c.plan_ms for c in costs),
        packing_ms=sum(c.packing_ms for c in costs),
    )


def _size(n: int) -> str:
    for unit in ("B", "kB", "MB"):
        if n < 1000:
            return f"{n:.3g} {unit}"
        n /= 1000  # type: ignore[assignment]
    return f"{n:.3g} GB"
