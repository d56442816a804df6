"""Every malformed file: a ModelFileError that names file and place, never another exception."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recstack.errors import ModelFileError
from recstack.model import Model, load, storage
from recstack.model.json_text import JSON_LIMIT_BYTES

F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def fails(folder: Path, *wanted: str) -> None:
    with pytest.raises(ModelFileError) as caught:
        load(folder)
    for part in (*wanted, str(folder)):
        assert part in str(caught.value)


def header(folder: Path, content: Any, data: bytes = bytes(16), length: int | None = None) -> None:
    """Replace the weights file by one with this header."""
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    size = len(text) if length is None else length
    (folder / "weights.safetensors").write_bytes(size.to_bytes(8, "little") + text + data)


@pytest.mark.parametrize("file", ["model.json", "weights.safetensors"])
def test_missing_file(folder: Path, file: str) -> None:
    (folder / file).unlink()
    fails(folder, "cannot read: No such file", file)


def test_missing_folder(tmp_path: Path) -> None:
    fails(tmp_path / "none", "No such file", "model.json")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (b"", "expected JSON"),
        (b'{"format_version": 1, "na', "expected JSON"),
        (b"\xff\xfe\xfa", "expected JSON"),
        (b"[" * 200_000, "expected JSON"),
        (b'{"a":' * 200_000, "expected JSON"),
        (b"1" * 5000, "expected JSON"),
        (b'{"format_version": NaN}', "the number NaN"),
        (b'{"format_version": 1, "format_version": 1}', "the key 'format_version' twice"),
        (b"{}", "expected format_version 1 or 2, got None"),
        (b"[]", "the top level"),
    ],
)
def test_malformed_json(folder: Path, text: bytes, wanted: str) -> None:
    (folder / "model.json").write_bytes(text)
    fails(folder, wanted, "model.json")


def test_json_too_large(folder: Path) -> None:
    with (folder / "model.json").open("r+b") as file:
        file.truncate(JSON_LIMIT_BYTES + 1)
    fails(folder, "expected at most 268435456 bytes", "model.json")


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (lambda f: f["ops"][0].update(kind="explode"), "model.json: ops[0]"),
        (lambda f: f["ops"][0].update(table="nothing"), "ops[0] (embedding_bag 'u')"),
        (lambda f: f["ops"][0].update(colour="red"), "model.json: ops[0].colour"),
        (lambda f: f["ops"][2].update(inputs=["x", "score"]), "(a cycle?)"),
        (lambda f: f["ops"][3].update(output="u"), "'u' again"),
        (lambda f: f["inputs"][1].update(name="x"), "inputs[1]"),
        (lambda f: f["inputs"][0].update(width=4), "ops[4] (linear 'score')"),
        (lambda f: f["inputs"][0].update(width=-4), "inputs[0].width"),
        (lambda f: f["inputs"][0].update(width=10**30), "inputs[0].width"),
        (lambda f: f["ops"][3].update(scalar="much"), "ops[3].scalar"),
        (lambda f: f.update(outputs=["nothing"]), "outputs[0]"),
        (lambda f: f.update(format_version=99), "format_version"),
    ],
)
def test_malformed_descriptions(edit: Any, change: Any, wanted: str) -> None:
    fails(edit(change), wanted)


def test_a_missing_tensor(tiny: Model, folder: Path) -> None:
    some = {k: v for k, v in tiny.weights.items() if k != "w"}
    storage.write_safetensors(folder / "weights.safetensors", some)
    fails(folder, "expected the name of a weight, got 'w'", "ops[4] (linear 'score')")


def test_a_tensor_of_another_shape(tiny: Model, folder: Path) -> None:
    changed = {**tiny.weights, "w": np.zeros((1, 12), np.float32)}
    storage.write_safetensors(folder / "weights.safetensors", changed)
    fails(folder, "expected an input of width 12, got (11,)", "ops[4] (linear 'score')")


@pytest.mark.parametrize("keep", [0, 3, 8, 20, -1])
def test_truncated_weights(folder: Path, keep: int) -> None:
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    fails(folder, "weights.safetensors")


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b"not json", "expected a JSON header"),
        (b"[" * 200_000, "expected a JSON header"),
        (b'{"t": {"shape": [NaN]}}', "the number NaN"),
        (json.dumps({"t": F32})[:-1].encode() + b"," + json.dumps({"t": F32})[1:].encode(), "'t'"),
        ([F32], "expected a JSON object as header"),
        ({"t": 3}, "'t'"),
        ({"t": {}}, "expected dtype, shape and data_offsets"),
        ({"t": {**F32, "data_offsets": [0]}}, "expected dtype, shape and data_offsets"),
        ({"t": {**F32, "data_offsets": 8}}, "expected dtype, shape and data_offsets"),
        ({"t": {**F32, "shape": 2}}, "expected dtype, shape and data_offsets"),
        ({"t": {**F32, "dtype": "F64"}}, "expected dtype F32, F16, BF16 or U8, got 'F64'"),
        ({"t": {**F32, "dtype": "F16"}}, "expected 4 bytes, got 8"),
        ({"t": {**F32, "dtype": "U8"}}, "expected 2 bytes, got 8"),
        ({"t": {**F32, "dtype": ["F32"]}}, "expected dtype F32"),
        ({"t": {**F32, "shape": [-2]}}, "expected sizes and offsets >= 0, got (-2,)"),
        ({"t": {**F32, "shape": [2.0]}}, "expected sizes and offsets >= 0"),
        ({"t": {**F32, "shape": [True, 2]}}, "expected sizes and offsets >= 0"),
        ({"t": {**F32, "shape": ["2"]}}, "expected sizes and offsets >= 0"),
        ({"t": {**F32, "shape": [1 << 62]}}, "expected sizes and offsets >= 0"),
        ({"t": {**F32, "shape": [1 << 40, 1 << 40, 0]}}, "'t'"),
        ({"t": {**F32, "shape": [2] + [1] * 90}}, "expected at most 16 axes"),
        ({"t": {**F32, "data_offsets": [-8, 0]}}, "at -8 to 0"),
        ({"t": {**F32, "data_offsets": [8, 0]}}, "expected 8 bytes, got -8"),
        ({"t": {**F32, "shape": [3]}}, "expected 12 bytes, got 8"),
        ({"t": {**F32, "data_offsets": [16, 24]}}, "expected data up to byte 24, got 16 bytes"),
        ({"a": F32, "b": {**F32, "data_offsets": [4, 12]}}, "'b'"),
        ({"a": F32, "b": F32}, "expected data from byte 8 on, got 0"),
    ],
)
def test_hostile_headers(folder: Path, content: Any, wanted: str) -> None:
    header(folder, content)
    fails(folder, wanted, "weights.safetensors")


@pytest.mark.parametrize("length", [1 << 63, (1 << 64) - 1, 1 << 40, 500])
def test_hostile_header_sizes(folder: Path, length: int) -> None:
    header(folder, {"t": F32}, length=length)
    fails(folder, f"expected a header of {length} bytes")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(junk=st.binary(max_size=200), at=st.integers(0, 300))
def test_random_bytes_never_raise_anything_else(folder: Path, junk: bytes, at: int) -> None:
    path = folder / "weights.safetensors"
    good = path.read_bytes()
    try:
        path.write_bytes(good[:at] + junk + good[at + len(junk) :])
        load(folder)
    except ModelFileError as error:
        assert str(folder) in str(error)
    finally:
        path.write_bytes(good)


@pytest.fixture
def sharded(tiny: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(storage, "SHARD_BYTES", 170)
    tiny.save(tmp_path / "m")
    return tmp_path / "m"


def reindex(folder: Path, change: Any) -> None:
    path = folder / storage.INDEX_NAME
    listing = json.loads(path.read_text())
    path.write_text(json.dumps(change(listing)))


@pytest.mark.parametrize(
    "file", ["../w.safetensors", "/etc/passwd", "a/b", "..", ".", "", "a\0b", "x/.."]
)
def test_shards_outside_the_folder(sharded: Path, file: str) -> None:
    reindex(sharded, lambda f: {"weight_map": {**f["weight_map"], "b": file}})
    fails(sharded)


@pytest.mark.parametrize("file", ["../w.safetensors", "/etc/passwd"])
def test_path_traversal_is_refused_before_reading(sharded: Path, file: str) -> None:
    reindex(sharded, lambda f: {"weight_map": {**f["weight_map"], "b": file}})
    fails(sharded, f"expected a plain file name, got {file!r}", storage.INDEX_NAME)


@pytest.mark.parametrize("listing", [[], {}, {"weight_map": []}, {"weight_map": {"w": 3}}])
def test_malformed_index(sharded: Path, listing: Any) -> None:
    reindex(sharded, lambda _: listing)
    fails(sharded, "expected an object `weight_map` of file names", storage.INDEX_NAME)


def test_a_missing_shard(sharded: Path) -> None:
    (sharded / "weights-00002-of-00002.safetensors").unlink()
    fails(sharded, "No such file", "weights-00002-of-00002.safetensors")


def test_a_tensor_missing_from_its_shard(sharded: Path) -> None:
    reindex(
        sharded,
        lambda f: {"weight_map": {**f["weight_map"], "more": "weights-00001-of-00002.safetensors"}},
    )
    fails(sharded, "expected weight 'more' in its shard", storage.INDEX_NAME)


def test_a_tensor_in_two_shards(tiny: Model, sharded: Path) -> None:
    storage.write_safetensors(sharded / "weights-00001-of-00002.safetensors", tiny.weights)
    fails(sharded, "weights-00001-of-00002.safetensors: 'w'")
