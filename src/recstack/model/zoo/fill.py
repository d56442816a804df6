"""Seeded weights at memory speed.

Element i of a weight depends on (seed, stream, i) alone: not on threads, order or other weights.
`_native.fill_uniform` and its twin here give the same bits (native/core/fill.h has the formula).
"""

from __future__ import annotations

import hashlib
import importlib
import os
from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recstack.errors import ConfigError
from recstack.memory import available_bytes
from recstack.model.zoo.graph import WeightSpec

Floats = NDArray[np.float32]

_CHUNK = 1 << 16  # elements; the twin's scratch arrays stay in cache
_PAGE_BYTES = 4096
_LINE_BYTES = 64
_M64 = (1 << 64) - 1


def filled(specs: Mapping[str, WeightSpec], seed: int) -> dict[str, Floats]:
    """Read-only weights for `specs`, in one allocation on huge pages where the system has them.

    Raises ConfigError when they do not fit in the memory that is free.
    """
    offsets, total = _offsets(specs)
    available = available_bytes()
    if total > available:
        raise ConfigError(
            f"expected weights that fit in {available / 1e9:.1f} GB of free memory, got "
            f"{total / 1e9:.1f} GB: pass a smaller rows_scale"
        )
    arena = _empty_pages(total)
    weights = {}
    for name, spec in specs.items():
        begin = offsets[name]
        array = arena[begin : begin + 4 * prod(spec.shape)].view(np.float32)
        fill_uniform(array, seed, stream_of(name), spec.low, spec.high)
        array.flags.writeable = False
        weights[name] = array.reshape(spec.shape)
    return weights


def stream_of(name: str) -> int:
    """The stream of the weight called `name`, an unsigned 64-bit number."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")


def fill_uniform(
    out: Floats, seed: int, stream: int, low: float, high: float, threads: int | None = None
) -> None:
    """Fill `out` (n,) float32 with values uniform on [low, high]; threads None: all that may run.

    Native where the extension is built, else by `fill_uniform_reference`.
    """
    native = _native("fill_uniform")
    if native is None:
        fill_uniform_reference(out, seed, stream, low, high)
    else:
        native(out, seed & _M64, stream, low, high, threads or usable_cpus())


def fill_uniform_reference(out: Floats, seed: int, stream: int, low: float, high: float) -> None:
    """The NumPy twin of native/core/fill.cc, bit for bit.

    >>> out = np.empty(3, np.float32)
    >>> fill_uniform_reference(out, seed=0, stream=1, low=-1.0, high=1.0)
    >>> bool((np.abs(out) <= 1).all())
    True
    """
    base = np.float32(low)
    scale = np.float32((np.float32(high) - base) * np.float32(2.0**-24))
    for begin in range(0, out.size, _CHUNK):
        end = min(begin + _CHUNK, out.size)
        key = block_key(seed, stream, begin >> 32)
        x = np.arange(begin, end, dtype=np.uint64).astype(np.uint32)
        x += np.uint32(key & 0xFFFFFFFF)
        _mix(x)
        x ^= np.uint32(key >> 32)
        _mix(x)
        x >>= np.uint32(8)
        np.multiply(x.astype(np.float32), scale, out=out[begin:end])
        out[begin:end] += base


def block_key(seed: int, stream: int, block: int) -> int:
    """Key of 2**32 elements: splitmix64's finaliser, chained over seed, stream and block."""
    key = 0
    for part in (seed, stream, block):
        key = (key ^ (part & _M64)) + 0x9E3779B97F4A7C15 & _M64
        key = (key ^ key >> 30) * 0xBF58476D1CE4E5B9 & _M64
        key = (key ^ key >> 27) * 0x94D049BB133111EB & _M64
        key ^= key >> 31
    return key


def _mix(x: NDArray[np.uint32]) -> None:
    """lowbias32 (C. Wellons, hash-prospector), in place."""
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x7FEB352D)
    x ^= x >> np.uint32(15)
    x *= np.uint32(0x846CA68B)
    x ^= x >> np.uint32(16)


def usable_cpus() -> int:
    """CPUs that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _offsets(specs: Mapping[str, WeightSpec]) -> tuple[dict[str, int], int]:
    """Byte offset of each weight, large ones on a page of their own, and the total."""
    at, offsets = 0, {}
    for name, spec in specs.items():
        size = 4 * prod(spec.shape)
        alignment = _PAGE_BYTES if size >= _PAGE_BYTES else _LINE_BYTES
        at = -(-at // alignment) * alignment
        offsets[name] = at
        at += size
    return offsets, at


def _empty_pages(nbytes: int) -> NDArray[np.uint8]:
    native = _native("empty_pages")
    if native is None:
        return np.empty(nbytes, np.uint8)
    owner: NDArray[np.uint8] = native(nbytes)[0]
    return owner


def _native(name: str) -> Any | None:
    """A function of the extension; None where the extension is not built."""
    try:
        return getattr(importlib.import_module("recstack._native"), name, None)
    except ModuleNotFoundError:
        return None
