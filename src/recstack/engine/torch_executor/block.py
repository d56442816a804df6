"""Inputs of fixed shapes in one block of memory: filled on the host, sent in one copy."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recstack.engine.torch_executor.weights import as_tensor

ALIGNMENT = 256

Array = NDArray[Any]
Shaped = tuple[tuple[int, ...], np.dtype[Any], int]
"""Shape, dtype and place in bytes of one array."""


class Layout:
    """The arrays that a staging puts, in order, and where each lies in a block.

    stage: calls the function that it is given on every array, always as many and of the same
    shapes.
    """

    def __init__(self, stage: Callable[[Callable[[Array], Tensor]], Any]) -> None:
        self.arrays: list[Shaped] = []
        self.bytes = 0
        stage(self._note)

    def _note(self, array: Array) -> Tensor:
        self.arrays.append((array.shape, array.dtype, self.bytes))
        self.bytes += -(-array.nbytes // ALIGNMENT) * ALIGNMENT
        return as_tensor(array)


class Block:
    """Memory of one layout on the host, page-locked for a GPU, and on the device.

    On the CPU both are one. Blocks of several layouts may share memory: only one is in use at once.
    """

    def __init__(self, layout: Layout, host: Tensor, device: Tensor) -> None:
        self._host, self._device = host[: layout.bytes], device[: layout.bytes]
        bytes_ = self._host.numpy()
        self._arrays = [
            bytes_[at : at + prod(shape) * dtype.itemsize].view(dtype).reshape(shape)
            for shape, dtype, at in layout.arrays
        ]
        self._tensors = [
            self._device[at : at + prod(shape) * dtype.itemsize].view(_torch(dtype)).view(shape)
            for shape, dtype, at in layout.arrays
        ]

    def writer(self) -> Callable[[Array], Tensor]:
        """Writes the arrays of one staging on the host; returns where each is on the device."""
        places = zip(self._arrays, self._tensors, strict=True)

        def put(array: Array) -> Tensor:
            on_host, on_device = next(places)
            assert on_host.shape == array.shape and on_host.dtype == array.dtype
            on_host[...] = array
            return on_device

        return put

    def send(self) -> None:
        """Begin the copy to the device, on torch's current stream."""
        if self._device is not self._host and self._device.device != self._host.device:
            self._device.copy_(self._host, non_blocking=True)


def _torch(dtype: np.dtype[Any]) -> torch.dtype:
    return torch.from_numpy(np.empty(0, dtype)).dtype
