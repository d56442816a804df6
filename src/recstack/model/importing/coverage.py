"""What became of each call of an imported module."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recstack.model.model import Model
from recstack.model.ops import Opaque

if TYPE_CHECKING:
    from recstack.model.importing.passes import Graph


@dataclass(frozen=True, slots=True)
class CoverageLine:
    """One line of the table.

    operator: such as `aten.linear.default`; times: calls that were imported in this way;
    imported_as: kinds of ops, `layout` (no op is needed) or `opaque`; source: where the first
    opaque call stands in the user's code; reason: why it is opaque.
    """

    operator: str
    times: int
    imported_as: str
    source: str = ""
    reason: str = ""


@dataclass(frozen=True, eq=False)
class ImportedModel(Model):
    """A model that remembers what its module's calls became."""

    lines: tuple[CoverageLine, ...] = ()


class Coverage(tuple[CoverageLine, ...]):
    """The table; `str()` of it is aligned text, opaque calls first."""

    @property
    def opaque(self) -> tuple[CoverageLine, ...]:
        """The lines of calls that torch runs."""
        return tuple(line for line in self if line.imported_as == "opaque")

    def __str__(self) -> str:
        head = ("operator", "times", "imported as", "source")
        rows = [(line.operator, str(line.times), line.imported_as, line.source) for line in self]
        widths = [max(len(r[i]) for r in [head, *rows]) for i in range(4)]
        text = [
            "  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip()
            for r in [head, *rows]
        ]
        return "\n".join(text)


def coverage(model: Model) -> Coverage:
    """The coverage table of an imported model; of one that was saved since, by its ops' kinds."""
    if isinstance(model, ImportedModel):
        return Coverage(model.lines)
    counts: dict[tuple[str, str, str], int] = {}
    for op in model.ops:
        opaque = isinstance(op, Opaque)
        key = (op.target, "opaque", op.source) if isinstance(op, Opaque) else (op.kind, op.kind, "")
        counts[key] = counts.get(key, 0) + 1
        assert opaque == (key[1] == "opaque")
    lines = [CoverageLine(k[0], n, k[1], k[2]) for k, n in counts.items()]
    return Coverage(sorted(lines, key=_order))


def summarise(records: Mapping[int, Any], graph: Graph) -> tuple[CoverageLine, ...]:
    """Lines from the calls' records and the ops that came of them."""
    kinds: dict[int, set[str]] = {number: set() for number in records}
    for op in graph.ops:
        for number in graph.origins[op.output]:
            if number in kinds:
                kinds[number].add(op.kind)
    lines: dict[tuple[str, str, str], CoverageLine] = {}
    for number, record in records.items():
        found = kinds[number]
        name = "opaque" if "opaque" in found else ", ".join(sorted(found)) or "layout"
        source = record.source if name == "opaque" else ""
        reason = record.reason if name == "opaque" else ""
        key = (record.target, name, source)
        before = lines.get(key)
        times = 1 + (before.times if before else 0)
        lines[key] = CoverageLine(record.target, times, name, source, reason)
    return tuple(sorted(lines.values(), key=_order))


def _order(line: CoverageLine) -> tuple[bool, str, str]:
    return (line.imported_as != "opaque", line.operator, line.imported_as)
