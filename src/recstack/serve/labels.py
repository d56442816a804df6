"""Outcomes of earlier queries: {"id": "7", "labels": [0, 1, null]}."""

from __future__ import annotations

import json
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from recstack.errors import BatchError
from recstack.serve.http.status import HttpError

MAX_BYTES = 1 << 20


@runtime_checkable
class Labelled(Protocol):
    """A SUT that learns what became of its queries."""

    def label(self, key: str, labels: NDArray[np.floating]) -> bool:
        """Take a query's labels; whether it still waited for them."""
        ...


def take(sut: object, body: bytes | bytearray) -> bool:
    """Give a body's labels to a SUT; whether the query was sampled and still waited.

    Labels are 0, 1 or null (unknown), one per row, or one list per row for several outputs. Raises
    HttpError where the SUT takes none or the body is too long, BatchError for what is wrong in it.
    """
    if not isinstance(sut, Labelled):
        raise HttpError(404, "this model is not monitored: it takes no labels")
    if len(body) > MAX_BYTES:
        raise HttpError(413, f"expected at most {MAX_BYTES} bytes of labels, got {len(body)}")
    try:
        data: Any = json.loads(bytes(body))
    except (ValueError, RecursionError) as error:
        raise BatchError(f"expected JSON: {error}", "body") from None
    if type(data) is not dict or type(data.get("id")) is not str or not data["id"]:
        raise BatchError('expected {"id": a request\'s id, "labels": [...]}', "body")
    given = data.get("labels")
    if type(given) is not list:
        raise BatchError("expected a list", "labels")
    try:
        labels = np.array(given, np.float64)  # null becomes NaN
    except (TypeError, ValueError, OverflowError):
        raise BatchError("expected 0, 1 or null for each row", "labels") from None
    return sut.label(data["id"], labels)
