from __future__ import annotations

import errno
import json
import math
import mmap
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recstack.batch import DenseInput
from recstack.errors import ModelFileError
from recstack.model import Model, ModelDescription, build, load, storage
from recstack.model.ops import Binary, Clamp, Constant, Opaque


def same(a: Model, b: Model) -> bool:
    return (
        a.description == b.description
        and list(a.weights) == list(b.weights)
        and all(np.array_equal(a.weights[k], b.weights[k], equal_nan=True) for k in a.weights)
    )


def test_round_trip(tiny: Model, folder: Path) -> None:
    assert same(load(folder), tiny)
    assert sorted(p.name for p in folder.iterdir()) == ["model.json", "weights.safetensors"]
    assert [p.name for p in folder.parent.iterdir()] == ["tiny"]


def test_the_description_is_one_line_per_op_without_defaults(folder: Path) -> None:
    lines = (folder / "model.json").read_text().splitlines()
    assert '  {"kind": "dense", "name": "x", "width": 3},' in lines
    assert any(line.startswith('  {"kind": "embedding_bag", "output": "u"') for line in lines)


def test_the_safetensors_library_reads_what_is_written(tiny: Model, folder: Path) -> None:
    read = safetensors.numpy.load_file(folder / "weights.safetensors")
    assert set(read) == set(tiny.weights)
    for name, array in tiny.weights.items():
        np.testing.assert_array_equal(read[name], array)


def test_what_the_safetensors_library_writes_is_read(tiny: Model, folder: Path) -> None:
    safetensors.numpy.save_file(
        dict(tiny.weights), folder / "weights.safetensors", metadata={"format": "pt"}
    )
    found = load(folder).weights
    for name, array in tiny.weights.items():
        np.testing.assert_array_equal(found[name], array)


def test_weights_are_memory_mapped_and_read_only(folder: Path) -> None:
    for array in load(folder).weights.values():
        base: Any = array
        while isinstance(base.base, np.ndarray):
            base = base.base
        assert isinstance(
            base.base.obj if isinstance(base.base, memoryview) else base.base, mmap.mmap
        )
        assert not array.flags.writeable and array.ctypes.data % 4 == 0


def test_loading_reads_no_weights(tmp_path: Path) -> None:
    """A sparse file of 64 GB loads at once: only its header is read."""
    rows = (64 << 30) // 256
    header = json.dumps(
        {"t": {"dtype": "F32", "shape": [rows, 64], "data_offsets": [0, 64 << 30]}}
    ).encode()
    header += b" " * (-len(header) % 8)
    with (tmp_path / "weights.safetensors").open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + (64 << 30))
    tensors = storage.read_safetensors(tmp_path / "weights.safetensors")
    assert tensors["t"].shape == (rows, 64) and tensors["t"][rows - 1, 63] == 0


def test_unaligned_data_is_copied(tmp_path: Path) -> None:
    header = b'{"t": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}'
    header += b" " * (-len(header) % 4 + 1)
    data = np.array([1.5, -2.0], "<f4").tobytes()
    path = tmp_path / "weights.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)
    found = storage.read_safetensors(path)["t"]
    assert found.flags.aligned and found.tolist() == [1.5, -2.0]


def test_large_models_are_sharded(
    tiny: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "SHARD_BYTES", 170)
    tiny.save(tmp_path / "m")
    assert same(load(tmp_path / "m"), tiny)
    index = json.loads((tmp_path / "m" / storage.INDEX_NAME).read_text())
    assert index == {
        "metadata": {"total_size": 208},
        "weight_map": {
            "table": "weights-00001-of-00002.safetensors",
            "w": "weights-00002-of-00002.safetensors",
            "b": "weights-00002-of-00002.safetensors",
        },
    }
    assert not (tmp_path / "m" / "weights.safetensors").exists()


@pytest.mark.parametrize("shape", [(0, 4), (), (1,), (3, 0)])
def test_odd_shapes(shape: tuple[int, ...], tmp_path: Path) -> None:
    data = ModelDescription(
        name="m",
        inputs=(DenseInput(name="x", width=1),),
        ops=(Constant(output="c", weight="w"),),
        outputs=("x",),
    )
    model = build(data, {"w": np.full(shape, 7, np.float32)})
    model.save(tmp_path / "m")
    found = load(tmp_path / "m").weights["w"]
    assert found.shape == shape and (found == 7).all()


def test_infinities_and_any_value_survive(tmp_path: Path) -> None:
    ops = (
        Binary(output="a", inputs=("x",), fn="add", scalar=-math.inf),
        Clamp(output="b", inputs=("a",), low=-1e300, high=math.inf),
        Opaque(
            output="y",
            inputs=("b",),
            target="aten.masked_fill.Scalar",
            arguments=({"input": 0}, -math.inf, [1.0, math.inf], "infinity", None, True),
            entry_shape=(1,),
        ),
    )
    data = ModelDescription(
        name="m", inputs=(DenseInput(name="x", width=1),), ops=ops, outputs=("y",)
    )
    build(data, {}).save(tmp_path / "m")
    json.loads((tmp_path / "m" / "model.json").read_text(), parse_constant=pytest.fail)
    restored = load(tmp_path / "m").description.ops
    assert restored[:2] == ops[:2]
    assert json.dumps(restored[2].arguments) == json.dumps(ops[2].arguments)


def test_nan_cannot_be_saved(tmp_path: Path) -> None:
    ops = (Binary(output="y", inputs=("x",), fn="add", scalar=math.nan),)
    data = ModelDescription(
        name="m", inputs=(DenseInput(name="x", width=1),), ops=ops, outputs=("y",)
    )
    with pytest.raises(ModelFileError, match=r"cannot write the description.*/m`"):
        build(data, {}).save(tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.dictionaries(st.text(min_size=1), st.lists(st.integers(0, 4), max_size=3), max_size=5))
def test_any_names_and_shapes(tmp_path: Path, shapes: dict[str, list[int]]) -> None:
    tensors = {name: np.full(shape, 0.5, np.float32) for name, shape in shapes.items()}
    tensors.pop("__metadata__", None)
    path = tmp_path / "weights.safetensors"
    storage.write_safetensors(path, tensors)
    found = storage.read_safetensors(path)
    assert {n: a.shape for n, a in found.items()} == {n: a.shape for n, a in tensors.items()}


def test_saving_replaces_a_model_but_no_other_folder(tiny: Model, folder: Path) -> None:
    tiny.save(folder)
    assert same(load(folder), tiny)
    assert [p.name for p in folder.parent.iterdir()] == ["tiny"]
    other = folder.parent / "photos"
    other.mkdir()
    (other / "cat.jpg").touch()
    with pytest.raises(ModelFileError, match=r"got another folder - at `.*photos`"):
        tiny.save(other)
    assert [p.name for p in other.iterdir()] == ["cat.jpg"]
    file = folder.parent / "file"
    file.touch()
    with pytest.raises(ModelFileError, match=r"cannot write the model: Not a directory.*file`"):
        tiny.save(file)


def test_a_loaded_model_can_be_saved_over_itself(tiny: Model, folder: Path) -> None:
    loaded = load(folder)
    loaded.save(folder)
    assert same(loaded, tiny) and same(load(folder), tiny)


def test_a_relative_folder(tiny: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m").mkdir()
    monkeypatch.chdir(tmp_path / "m")
    tiny.save(".")
    assert same(load(tmp_path / "m"), tiny)


class FullDisk:
    """A file on a disk with no room: every write fails."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def __enter__(self) -> FullDisk:
        return self

    def __exit__(self, *_: Any) -> None:
        self.file.close()

    def write(self, _: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("full", ["weights.safetensors", "model.json"])
def test_a_full_disk_leaves_the_old_model(
    full: str, tiny: Model, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    real = Path.open

    def open_full(self: Path, mode: str = "r", *rest: Any, **named: Any) -> Any:
        file = real(self, mode, *rest, **named)
        return FullDisk(file) if self.name == full and "w" in mode else file

    monkeypatch.setattr(Path, "open", open_full)
    with pytest.raises(ModelFileError, match=r"No space left on device - at `.*tiny`"):
        tiny.save(folder)
    monkeypatch.undo()
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    assert [p.name for p in folder.parent.iterdir()] == ["tiny"]
    assert same(load(folder), tiny)


def test_a_failed_rename_leaves_the_old_model(
    tiny: Model, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.rename

    def rename(self: Path, target: Path) -> Path:
        if self.name.endswith(".partial"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(ModelFileError, match="Input/output error"):
        tiny.save(folder)
    assert same(load(folder), tiny)
    assert [p.name for p in folder.parent.iterdir()] == ["tiny"]
