"""One tensor of a request: its claims, and its data as a flat array on demand."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recstack.errors import BatchError
from recstack.serve.protocol.json_text import sort_of

Body = bytes | bytearray

DATATYPE_BYTES = {
    "BOOL": 1,
    "UINT8": 1,
    "UINT16": 2,
    "UINT32": 4,
    "UINT64": 8,
    "INT8": 1,
    "INT16": 2,
    "INT32": 4,
    "INT64": 8,
    "FP16": 2,
    "FP32": 4,
    "FP64": 8,
    "BF16": 2,
    "BYTES": 0,  # no fixed size
}
FP32 = ("FP32",)
INT32 = ("INT32",)
INDEX = ("INT64", "INT32")
_NUMPY: dict[str, np.dtype[Any]] = {
    "FP32": np.dtype("<f4"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
}


@dataclass(slots=True)
class Tensor:
    """A tensor as the client wrote it.

    count: elements that `shape` claims. where: its place, such as `inputs[2] 'user_id'`.
    data: JSON numbers, flat or nested; else None, and the bytes are body[at : at + size_bytes].
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    count: int
    where: str
    data: list[Any] | None
    body: Body | None
    at: int
    size_bytes: int

    def array(self, datatypes: tuple[str, ...]) -> NDArray[Any]:
        """The data as a flat array of one of `datatypes`.

        A view of the body where the bytes lie aligned, which a client gets by padding the JSON
        with spaces to a multiple of 8; else one copy. Raises BatchError for another datatype, and
        for JSON data of another count, nesting or type.
        """
        if self.datatype not in datatypes:
            raise BatchError(f"expected {' or '.join(datatypes)}, got {self.datatype}", self.where)
        dtype = _NUMPY[self.datatype]
        if self.body is not None:
            if not self.count:
                return np.empty(0, dtype)
            flat: NDArray[Any] = np.frombuffer(self.body, dtype, self.count, self.at)
            return flat if flat.flags.aligned else flat.copy()
        return self._numbers(dtype)

    def expect(self, *shapes: tuple[int, ...]) -> None:
        """Raise BatchError unless the claimed shape is one of `shapes`; -1 fits any size."""
        for shape in shapes:
            if shape == self.shape or self._fits(shape):
                return
        wanted = " or ".join(str(shape).replace("-1", "n") for shape in shapes)
        got = str(self.shape) if len(self.shape) <= 8 else f"{len(self.shape)} axes"
        raise BatchError(f"expected shape {wanted}, got {got}", self.where)

    def _fits(self, shape: tuple[int, ...]) -> bool:
        return len(shape) == len(self.shape) and all(
            want in (-1, got) for want, got in zip(shape, self.shape, strict=True)
        )

    def _numbers(self, dtype: np.dtype[Any]) -> NDArray[Any]:
        flat = self._flatten()
        if len(flat) != self.count:
            raise BatchError(f"expected {self.count} numbers, got {len(flat)}", self.where)
        kinds = set(map(type, flat))
        if others := kinds - ({int, float} if dtype.kind == "f" else {int}):
            wanted = "numbers" if dtype.kind == "f" else "integers"
            got = sort_of(next(x for x in flat if type(x) in others))
            raise BatchError(f"expected {wanted} as {self.datatype}, got {got}", self.where)
        try:
            wide = np.array(flat, np.float64 if dtype.kind == "f" else np.int64)
        except OverflowError:
            raise self._beyond() from None
        if not wide.size:
            return np.empty(0, dtype)
        if dtype.kind == "f":
            if np.abs(wide).max() > np.finfo(np.float32).max:
                raise self._beyond()
        elif dtype.itemsize == 4 and (wide.min() < -(1 << 31) or wide.max() >= 1 << 31):
            raise self._beyond()
        return wide.astype(dtype)

    def _flatten(self) -> list[Any]:
        """JSON data as a flat list, whether written flat or nested as `shape` says."""
        data = self.data or []
        if not any(type(x) is list for x in data):
            return data
        level: list[Any] = [data]
        for axis, size in enumerate(self.shape):
            for part in level:
                if type(part) is not list or len(part) != size:
                    raise BatchError(
                        f"expected data flat or nested as the shape says, "
                        f"got another nesting on axis {axis}",
                        self.where,
                    )
            level = list(chain.from_iterable(level))
        return level

    def _beyond(self) -> BatchError:
        return BatchError(f"expected numbers within {self.datatype}, got one beyond", self.where)
