"""Weights and inputs as tensors, without a copy where the device allows."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recstack.model import Model
from recstack.model.ops import EmbeddingBag
from recstack.rows import RowFormat, dequantise


class _Shared:
    """The memory of a read-only array, offered as writable; it keeps the array alive.

    Torch has no read-only tensors and warns when given such memory. Nothing here writes to it.
    """

    def __init__(self, array: NDArray[Any]) -> None:
        self._array = array
        address = array.__array_interface__["data"][0]
        self.__array_interface__ = {**array.__array_interface__, "data": (address, False)}


def as_tensor(array: NDArray[Any]) -> Tensor:
    """A CPU tensor on the memory of `array`, read-only or not; a copy only if it has gaps."""
    if not (array.flags.c_contiguous and array.flags.aligned):
        array = array.copy()
    return torch.from_numpy(array if array.flags.writeable else np.asarray(_Shared(array)))


class Tensors:
    """The weights of a model on one device, made when first asked for.

    fuse_tables: tables of one width are copied into one, so that one call reads them all. It costs
        a second copy of every table in memory.
    """

    def __init__(self, model: Model, device: Any, fuse_tables: bool) -> None:
        self._model = model
        self.device = device
        self._made: dict[str, Tensor] = {}
        self._fused: dict[str, tuple[Tensor, int]] = {}
        if fuse_tables:
            self._fuse(model)

    def __call__(self, name: str) -> Tensor:
        """The weight `name`."""
        if name in self._fused:
            whole, first = self._fused[name]
            return whole.narrow(0, first, self._model.shapes[name][0])
        if name not in self._made:
            self._made[name] = as_tensor(self._floats(name)).to(self.device)
        return self._made[name]

    def optional(self, name: str | None) -> Tensor | None:
        """The weight `name`, or None for none."""
        return None if name is None else self(name)

    def table(self, name: str) -> tuple[Tensor, int]:
        """The tensor that holds table `name`, and the first of its rows there."""
        return self._fused.get(name) or (self(name), 0)

    def _floats(self, name: str) -> NDArray[np.float32]:
        """The weight as float32, whatever it is stored as: torch has few bags of other formats."""
        format = self._model.table_formats.get(name, RowFormat.FP32)
        stored = self._model.weights[name]
        return (
            stored
            if format is RowFormat.FP32
            else dequantise(stored, format, self._model.shapes[name][1])
        )

    def _fuse(self, model: Model) -> None:
        names = dict.fromkeys(
            op.table for op in model.ops if isinstance(op, EmbeddingBag) and op.pooling != "none"
        )
        by_width: dict[int, list[str]] = {}
        for name in names:
            by_width.setdefault(self._model.shapes[name][1], []).append(name)
        for width, group in by_width.items():
            if len(group) == 1:
                continue
            rows = [self._model.shapes[name][0] for name in group]
            whole = torch.empty(sum(rows), width, device=self.device)
            at = 0
            for name, n in zip(group, rows, strict=True):
                whole[at : at + n] = as_tensor(self._floats(name))
                self._fused[name] = (whole, at)
                at += n
