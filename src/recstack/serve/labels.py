"""Outcomes of earlier queries: {"id": "7", "labels": [0, 1, null]}."""

from __future__ import annotations

from itertools import chain
from types import NoneType
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from recstack.errors import BatchError
from recstack.serve.http.status import HttpError
from recstack.serve.protocol.json_text import loads, sort_of

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
        raise HttpError(404, "expected a model that is monitored, got one that is not", "target")
    if len(body) > MAX_BYTES:
        raise HttpError(413, f"expected at most {MAX_BYTES} bytes, got {len(body)}", "body")
    data = loads(bytes(body))
    if type(data) is not dict:
        raise BatchError(f"expected a JSON object, got {sort_of(data)}", "body")
    key, given = data.get("id"), data.get("labels")
    if type(key) is not str or not key:
        raise BatchError(f"expected the id of a request, got {sort_of(key)}", "id")
    if type(given) is not list:
        raise BatchError(f"expected a list, got {sort_of(given)}", "labels")
    return sut.label(key, _array(given))


def _array(given: list[Any]) -> NDArray[np.float64]:
    """Labels as (rows,) or (rows, outputs), null as NaN."""
    flat = chain.from_iterable(x if type(x) is list else (x,) for x in given)
    other = next((x for x in flat if type(x) not in (int, float, NoneType)), None)
    if other is not None:
        raise BatchError(f"expected 0, 1 or null for each row, got {sort_of(other)}", "labels")
    try:
        return np.array(given, np.float64)
    except OverflowError:
        raise BatchError("expected 0, 1 or null, got a number past 64 bits", "labels") from None
    except (TypeError, ValueError):  # rows of several lengths
        raise BatchError("expected as many labels in every row, got others", "labels") from None
