"""Which rows belong to which query, as a request says it or leaves it out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recstack.errors import BatchError
from recstack.serve.protocol.schema import OFFSETS
from recstack.serve.protocol.tensor import INT32, Tensor


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that one request may hold, or ask for.

    max_json_bytes: of its JSON, and of the scores, as float32, of a reply in JSON.
    max_reply_bytes: of the scores of any reply.
    """

    max_json_bytes: int = 1 << 19
    max_rows: int = 1 << 20
    max_queries: int = 1024
    max_reply_bytes: int = 1 << 26


def read_offsets(tensors: Mapping[str, Tensor], limits: Limits) -> NDArray[np.int32] | None:
    """The request's query_offsets, checked, or None where it has none."""
    tensor = tensors.get(OFFSETS)
    if tensor is None:
        return None
    tensor.expect((-1,))
    offsets: NDArray[np.int32] = tensor.array(INT32)
    if not 2 <= offsets.size <= limits.max_queries + 1:
        raise BatchError(
            f"expected 2 to {limits.max_queries + 1} offsets, got {offsets.size}", tensor.where
        )
    if offsets[0] != 0:
        raise BatchError(f"expected 0 as first offset, got {offsets[0]}", tensor.where)
    if (falls := np.flatnonzero(offsets[1:] < offsets[:-1])).size:
        q = int(falls[0]) + 1
        raise BatchError(
            f"expected offset {q} to be at least {offsets[q - 1]}, got {offsets[q]}", tensor.where
        )
    check_rows(int(offsets[-1]), limits, tensor.where)
    return offsets


def one_query(rows: int, limits: Limits) -> NDArray[np.int32]:
    """Offsets that make all rows one query's."""
    check_rows(rows, limits, "inputs")
    return np.array((0, rows), np.int32)


def check_rows(rows: int, limits: Limits, where: str) -> None:
    """Raise BatchError for more rows than one request may have."""
    if rows > limits.max_rows:
        raise BatchError(f"expected at most {limits.max_rows} rows, got {rows}", where)


def unknown_rows() -> BatchError:
    """The error of a request from which the number of rows cannot be told."""
    return BatchError("expected query_offsets, since no input tells the number of rows", "inputs")
