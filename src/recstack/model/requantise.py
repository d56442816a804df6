"""Tables of a model in other formats: in memory, or a piece at a time on their way to a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recstack import _native
from recstack.errors import ModelError, RowError
from recstack.model.description import ModelDescription, StoredTable
from recstack.model.mapped import MappedWeights
from recstack.model.model import Model, build
from recstack.model.stored import check_readers
from recstack.rows import RowFormat, dequantise, quantise

PIECE_BYTES = 64 << 20  # of float32 rows that are quantised at a time
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Requantised:
    """Table `name` of `model` as it will be in `format`, made piece by piece."""

    model: Model
    name: str
    format: RowFormat
    greedy: bool

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the stored array."""
        return self.format.dtype

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, stored width)."""
        rows, dim = self.model.shapes[self.name]
        return rows, self.format.stored_width(dim)

    @property
    def nbytes(self) -> int:
        """Bytes of the stored array."""
        return self.shape[0] * self.shape[1] * self.dtype.itemsize

    def chunks(self, out: NDArray[Any] | None = None) -> Iterator[NDArray[Any]]:
        """The stored rows in order, some at a time; as parts of `out` if given.

        Raises ModelError naming table and row for a value that the format cannot hold.
        """
        rows, dim = self.model.shapes[self.name]
        step = max(PIECE_BYTES // max(4 * dim, 1), 1)
        for at in range(0, rows, step):
            yield self._piece(at, at + step, None if out is None else out[at : at + step])
        if isinstance(self.model.weights, MappedWeights):
            self.model.weights.drop([self.name])

    def _piece(self, begin: int, end: int, out: NDArray[Any] | None) -> NDArray[Any]:
        """Rows [begin, end); what is float32 on the way lives no longer than this call."""
        piece, source = self.model.weights[self.name], self.model.table_formats[self.name]
        piece = piece[begin:end]
        if source is not RowFormat.FP32:
            piece = dequantise(piece, source, self.model.shapes[self.name][1])
        try:
            return quantise(piece, self.format, greedy=self.greedy, out=out)
        except RowError as error:
            where = f"weights[{self.name!r}]"
            raise RowError(error.problem, begin + error.row, where) from None

    def array(self) -> NDArray[Any]:
        """The whole stored array, read-only, on huge pages where the system has them."""
        rows: NDArray[Any] = _native.empty_pages(self.nbytes)[0].view(self.dtype)
        rows = rows.reshape(self.shape)
        for _ in self.chunks(rows):
            pass
        rows.flags.writeable = False
        return rows


def requantised(model: Model, formats: Mapping[str, RowFormat], *, greedy: bool) -> Model:
    """`model` with some tables in other formats, see `Model.with_table_formats`."""
    description, weights = requantised_weights(model, formats, greedy=greedy)
    arrays = {n: w.array() if isinstance(w, Requantised) else w for n, w in weights.items()}
    return build(description, arrays)


def requantised_weights(
    model: Model, formats: Mapping[str, RowFormat], *, greedy: bool
) -> tuple[ModelDescription, Mapping[str, NDArray[Any] | Requantised]]:
    """The description and the weights of `model` with some tables in other formats.

    Raises ModelError for a name that is no table, and for a table that other ops read too.
    """
    for name in formats:
        if name not in model.table_formats:
            raise ModelError(f"expected the name of a table, got {name!r}", "table_formats")
        if formats[name] not in list(RowFormat):
            known = ", ".join(RowFormat)
            raise ModelError(
                f"expected one of {known}, got {formats[name]!r}", f"table_formats[{name!r}]"
            )
    changed = {n: RowFormat(f) for n, f in formats.items() if model.table_formats[n] != f}
    if not changed:
        return model.description, model.weights
    tables = {n: t for n, t in model.description.tables.items() if n not in changed}
    for name, format in changed.items():
        if format is not RowFormat.FP32:
            tables[name] = StoredTable(format=format, dim=model.shapes[name][1])
    description = model.description.with_tables(tables)
    check_readers(description)
    made = {n: Requantised(model, n, format, greedy) for n, format in changed.items()}
    return description, {**model.weights, **made}
