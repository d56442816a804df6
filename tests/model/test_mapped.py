from __future__ import annotations

import gc
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from recstack.errors import ModelFileError
from recstack.model import mapped
from recstack.model.mapped import MappedWeights
from recstack.model.safetensors import read_safetensors, write_safetensors


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    random = np.random.default_rng(3)
    shapes = {"a": (70, 5), "b": (0, 4), "c": (1,), "d": (300_000, 2)}
    return {name: random.random(shape, np.float32) for name, shape in shapes.items()}


@pytest.fixture
def path(tmp_path: Path, arrays: dict[str, np.ndarray]) -> Path:
    write_safetensors(tmp_path / "w.safetensors", arrays)
    return tmp_path / "w.safetensors"


@pytest.fixture
def weights(path: Path) -> MappedWeights:
    return read_safetensors(path)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("read_bytes", [1000, 4096, 1 << 30])
def test_a_copy_is_bit_for_bit(
    weights: MappedWeights, arrays: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch,
    threads: int, read_bytes: int,
) -> None:  # fmt: skip
    monkeypatch.setattr(mapped, "READ_BYTES", read_bytes)
    copies = weights.in_huge_pages(weights, threads)
    assert list(copies) == list(arrays)
    for name, array in arrays.items():
        assert copies[name].tobytes() == array.tobytes() and copies[name].shape == array.shape
        assert not copies[name].flags.writeable and copies[name].ctypes.data % 64 == 0
        assert not np.shares_memory(copies[name], weights[name])


def test_there_is_one_copy_and_it_is_freed_with_its_last_user(weights: MappedWeights) -> None:
    first = weights.in_huge_pages(["a", "d"], 1)
    second = weights.in_huge_pages(["d", "c"], 1)
    assert first["d"].ctypes.data == second["d"].ctypes.data
    assert weights.copied(["a", "c", "d"]) and not weights.copied(["a", "b"])
    row = first["a"][3:]
    del first
    gc.collect()
    assert weights.copied(["a", "d"])  # a view of one weight holds the copy that it is part of
    del row
    gc.collect()
    assert weights.copied(["d"])
    del second
    gc.collect()
    assert not weights.copied(["d"]) and not weights.copied(["c"])


def test_engines_that_start_together_share_one_copy(weights: MappedWeights) -> None:
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(weights.in_huge_pages(["d"], 2)["d"]))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({array.ctypes.data for array in found}) == 1


def test_a_replaced_file_changes_nothing(
    path: Path, weights: MappedWeights, arrays: dict[str, np.ndarray]
) -> None:
    path.rename(path.with_name("old"))
    path.write_bytes(b"another file")
    assert weights.in_huge_pages(["a"], 1)["a"].tobytes() == arrays["a"].tobytes()


def test_a_file_cut_short_is_an_error(path: Path, weights: MappedWeights) -> None:
    os.truncate(path, path.stat().st_size - 8)
    with pytest.raises(ModelFileError, match=r"cut short.*w\.safetensors"):
        weights.in_huge_pages(["d"], 2)
    assert not weights.copied(["d"])


def test_dropped_pages_leave_memory_and_come_back(
    weights: MappedWeights, arrays: dict[str, np.ndarray]
) -> None:
    d = weights["d"]
    assert d.sum() == arrays["d"].sum()
    before = resident(d)
    weights.drop(weights)
    assert before >= d.nbytes // 2 and resident(d) == 0
    for name, array in arrays.items():
        assert np.array_equal(weights[name], array)


def test_descriptors_are_closed(path: Path) -> None:
    weights = read_safetensors(path)
    open_now = len(list(Path("/proc/self/fd").iterdir()))
    copy = weights.in_huge_pages(["c"], 1)
    del weights
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) < open_now
    assert copy["c"].shape == (1,)


def resident(array: np.ndarray) -> int:
    """Bytes of whole pages of `array` that this process has mapped (/proc/self/pagemap)."""
    size = os.sysconf("SC_PAGE_SIZE")
    first = -(-array.ctypes.data // size)
    last = (array.ctypes.data + array.nbytes) // size
    with Path("/proc/self/pagemap").open("rb") as file:
        file.seek(8 * first)
        entries = np.frombuffer(file.read(8 * (last - first)), np.uint64)
    return int((entries >> np.uint64(63)).sum()) * size
