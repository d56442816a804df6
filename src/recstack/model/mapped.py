"""Weights that lie in files: mapped, and read into huge pages when an engine asks for it.

Mapped, they cost no memory until they are used and processes share them; but a file's pages are
small ones, and random rows of a table of gigabytes then wait for page walks.
"""

from __future__ import annotations

import mmap
import os
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recstack import _native
from recstack.errors import ModelFileError

Array = NDArray[Any]
Bytes = NDArray[np.uint8]
READ_BYTES = 32 << 20  # of one read: whole huge pages, each filled by one thread
LINE_BYTES = 64


class WeightFile:
    """A file, open for as long as this object lives, and its bytes as a mapping.

    Replacing or removing the file of that name changes nothing here.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._fd)
        self._map = None
        if size := os.fstat(self._fd).st_size:
            self._map = mmap.mmap(self._fd, size, access=mmap.ACCESS_READ)

    def bytes_from(self, start: int) -> Bytes:
        """The mapped bytes from `start` on, read-only."""
        if self._map is None or start >= len(self._map):
            return np.zeros(0, np.uint8)
        return np.frombuffer(self._map, np.uint8, offset=start)

    def check_reaches(self, end: int) -> None:
        """ModelFileError unless the file still has `end` bytes: to read past its end kills."""
        if (size := os.fstat(self._fd).st_size) < end:
            raise self._cut_short(end, size)

    def read_into(self, out: memoryview, start: int) -> None:
        """Fill `out` with the bytes from `start` on; ModelFileError when the file ends before."""
        done = 0
        while done < len(out):
            try:
                got = os.preadv(self._fd, [out[done:]], start + done)
            except OSError as error:
                raise ModelFileError(f"cannot read: {error.strerror}", str(self.path)) from error
            if got == 0:
                raise self._cut_short(start + len(out), start + done)
            done += got

    def _cut_short(self, want: int, got: int) -> ModelFileError:
        problem = f"expected {want} bytes, got {got}: was it cut short since it was loaded?"
        return ModelFileError(problem, str(self.path))

    def drop(self, start: int, end: int) -> None:
        """Take the pages wholly inside these bytes out of this process; read again when used."""
        if self._map is None or not hasattr(mmap, "MADV_DONTNEED"):
            return
        first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
        last = end // mmap.PAGESIZE * mmap.PAGESIZE
        if last > first:
            self._map.madvise(mmap.MADV_DONTNEED, first, last - first)


@dataclass(frozen=True, slots=True, eq=False)
class Extent:
    """Where a weight lies: bytes [start, start + array.nbytes) of `file`; `array` is mapped."""

    file: WeightFile
    start: int
    array: Array


class MappedWeights(Mapping[str, Array]):
    """Weights by name, read-only and memory-mapped."""

    def __init__(self, extents: Mapping[str, Extent]) -> None:
        self._extents = dict(extents)
        self._copies: dict[str, tuple[weakref.ref[Bytes], int]] = {}
        self._lock = threading.Lock()

    def __getitem__(self, name: str) -> Array:
        return self._extents[name].array

    def __iter__(self) -> Iterator[str]:
        return iter(self._extents)

    def __len__(self) -> int:
        return len(self._extents)

    def merged(self, other: MappedWeights) -> MappedWeights:
        """These weights and those of another file."""
        return MappedWeights({**self._extents, **other._extents})

    def extent(self, name: str) -> Extent:
        """Where a weight lies."""
        return self._extents[name]

    def check_whole(self) -> None:
        """Raise ModelFileError when a file has been cut short since it was loaded."""
        for extent in self._extents.values():
            extent.file.check_reaches(extent.start + extent.array.nbytes)

    def in_huge_pages(self, names: Iterable[str], threads: int) -> dict[str, Array]:
        """These weights in memory that asks for huge pages, read by up to `threads` threads.

        All callers share one copy, which is freed when the last array of it is gone. Raises
        ModelFileError when a file has been cut short, MemoryError when there is no memory.
        """
        names = list(names)
        with self._lock:
            held = {name: arena for name in names if (arena := self._held(name)) is not None}
            if missing := [name for name in names if name not in held]:
                arena = self._read(missing, threads)
                held.update(dict.fromkeys(missing, arena))
            return {name: self._view(name, held[name]) for name in names}

    def copied(self, names: Iterable[str]) -> bool:
        """Whether there is a copy of all of these now (`in_huge_pages`), so that one costs nothing.

        False for no names.
        """
        with self._lock:
            return all([self._held(name) is not None for name in names] or [False])

    def drop(self, names: Iterable[str]) -> None:
        """Take these weights' mapped pages out of this process; they are read again when used."""
        for name in names:
            extent = self._extents[name]
            extent.file.drop(extent.start, extent.start + extent.array.nbytes)

    def _held(self, name: str) -> Bytes | None:
        copy = self._copies.get(name)
        return None if copy is None else copy[0]()

    def _view(self, name: str, arena: Bytes) -> Array:
        mapped, begin = self._extents[name].array, self._copies[name][1]
        view = arena[begin : begin + mapped.nbytes].view(mapped.dtype).reshape(mapped.shape)
        view.flags.writeable = False
        return view

    def _read(self, names: Iterable[str], threads: int) -> Bytes:
        begins, at = {}, 0
        for name in names:
            begins[name] = at
            at += -(-self._extents[name].array.nbytes // LINE_BYTES) * LINE_BYTES
        arena: Bytes = _native.empty_pages(at)[0]
        memory = arena.data
        pieces = [p for name, begin in begins.items() for p in self._pieces(name, begin)]
        with ThreadPoolExecutor(threads, "recstack-read") as pool:
            for done in [
                pool.submit(file.read_into, memory[begin:end], start)
                for file, start, begin, end in pieces
            ]:
                done.result()
        reference = weakref.ref(arena)
        self._copies.update({name: (reference, begin) for name, begin in begins.items()})
        return arena

    def _pieces(self, name: str, begin: int) -> Iterator[tuple[WeightFile, int, int, int]]:
        """(file, its first byte, first and last + 1 byte of the copy) per read of one weight."""
        extent = self._extents[name]
        end = begin + extent.array.nbytes
        at = begin
        while at < end:
            stop = min((at // READ_BYTES + 1) * READ_BYTES, end)
            yield extent.file, extent.start + at - begin, at, stop
            at = stop
