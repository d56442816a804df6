"""What lookups cost at least: by row, and by the level that can hold the rows between two uses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from recstack.machine.peaks import Peaks
from recstack.model.cost import OpCost, Scope
from recstack.model.model import Model
from recstack.model.ops import EmbeddingBag

LINE_BYTES = 64


@dataclass(frozen=True, slots=True)
class TableUse:
    """A table, and its lookups per batch by all ops that read it."""

    rows: int
    row_bytes: int
    lookups: int

    @property
    def table_bytes(self) -> int:
        """Size of the table."""
        return self.rows * self.row_bytes


def gather_ns(
    model: Model, ops: Sequence[OpCost], times: Mapping[Scope, int], threads: int, peaks: Peaks
) -> list[float]:
    """Nanoseconds per op of its lookups in a batch, of all threads together; 0 for other ops.

    ops: of `model`, in its order. times: entries of the batch by scope.
    """
    tables = [op.table if isinstance(op, EmbeddingBag) else None for op in model.ops]
    lookups = [times[cost.scope] * cost.lookups for cost in ops]
    total: Counter[str] = Counter()
    for table, count in zip(tables, lookups, strict=True):
        if table is not None and count:
            total[table] += count
    uses = {name: _use(model, name, count) for name, count in total.items()}
    found = {name: _lookup_ns(use, uses, threads, peaks) for name, use in uses.items()}
    return [
        count * found[table] if table is not None and count else 0.0
        for table, count in zip(tables, lookups, strict=True)
    ]


def footprint_bytes(use: TableUse, uses: Sequence[TableUse]) -> int:
    """Bytes of table rows that the lookups touch between two uses of one row of `use`'s table.

    All tables share the caches, so a row stays in the level that holds whatever else is touched
    before it is needed again: after rows / lookups batches, indices being uniform (a cache's
    characteristic time: Che, Tung and Wang 2002, "Hierarchical Web caching systems"). For tables of
    one size and as many lookups each that is all tables together; a table of a few rows beside huge
    ones stays near.

    uses: every table, `use` among them, each with lookups.
    """
    touched = 0
    for other in uses:
        rows = min(other.rows, -(-use.rows * other.lookups // use.lookups))
        touched += rows * other.row_bytes
    return touched


def _use(model: Model, name: str, lookups: int) -> TableUse:
    return TableUse(model.shapes[name][0], model.row_bytes(name), lookups)


def _lookup_ns(use: TableUse, uses: Mapping[str, TableUse], threads: int, peaks: Peaks) -> float:
    footprint = footprint_bytes(use, list(uses.values()))
    tables = footprint / max(use.table_bytes, 1)
    # A row narrower than a line still moves one. A batch's lookups in one table can follow each
    # other: its bags need not be summed row by row of the batch.
    return 1e9 * peaks.lookup_s(
        max(use.row_bytes, LINE_BYTES), max(footprint, 1), threads, tables, use.lookups
    )
