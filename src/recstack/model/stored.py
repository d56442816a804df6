"""What is stored of the weights: shapes as ops see them, and who may read a table in few bits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recstack.errors import ModelError
from recstack.model.description import ModelDescription, StoredTable
from recstack.model.ops import EmbeddingBag
from recstack.model.ops.base import Shape


def stored_shapes(
    tables: Mapping[str, StoredTable], weights: Mapping[str, NDArray[Any]]
) -> dict[str, Shape]:
    """Weight -> its shape as ops see it.

    Raises ModelError where an array is not what the description says: float32, or the rows of a
    stored table.
    """
    for name in tables:
        if name not in weights:
            raise ModelError("expected the name of a weight", f"tables[{name!r}]")
    shapes: dict[str, Shape] = {}
    for name, array in weights.items():
        table = tables.get(name)
        shapes[name] = array.shape if table is None else (*array.shape[:1], table.dim)
        dtype = np.dtype(np.float32) if table is None else table.format.dtype
        if array.dtype != dtype:
            raise ModelError(f"expected {dtype}, got {array.dtype}", f"weights[{name!r}]")
        if table is not None:
            width = table.format.stored_width(table.dim)
            if array.ndim != 2 or array.shape[1] != width:
                expected = f"(rows, {width}) for {table.format} rows of {table.dim}"
                raise ModelError(f"expected {expected}, got {array.shape}", f"weights[{name!r}]")
    return shapes


def check_readers(description: ModelDescription) -> None:
    """ModelError where another op than an embedding bag reads a stored table."""
    for i, op in enumerate(description.ops):
        for name in op.weights():
            if name in description.tables and not isinstance(op, EmbeddingBag):
                stored = description.tables[name].format
                raise ModelError(
                    f"expected a float32 weight, got {name!r} stored as {stored}",
                    f"ops[{i}] ({op.kind} {op.output!r})",
                )
