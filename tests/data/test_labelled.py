from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from recstack.batch import check
from recstack.data import LabelledData, random_batch, read_labelled, slice_queries, take_queries
from recstack.errors import BatchError, DataError
from recstack.model import Model, zoo


@pytest.fixture(scope="module", params=["ncf", "din", "dien", "rm1"])
def model(request: pytest.FixtureRequest) -> Model:
    return zoo.outline(request.param, rows_scale=1e-3)


def draw(model: Model, rows: int = 23, queries: int = 7, tasks: int = 1) -> LabelledData:
    batch = random_batch(model, rows, seed=1, queries=queries, lengths="ragged")
    labels = np.random.default_rng(0).integers(0, 2, (rows, tasks)).astype(np.float32)
    labels[0, 0] = np.nan
    return LabelledData(model.inputs, batch, labels, np.arange(queries) % 3)


def equal(a: LabelledData, b: LabelledData) -> bool:
    fields = ("dense", "user_dense", "values", "lengths", "query_offsets", "weights")
    return (
        all(np.array_equal(getattr(a.batch, f), getattr(b.batch, f)) for f in fields)
        and np.array_equal(a.labels, b.labels, equal_nan=True)
        and np.array_equal(a.groups, b.groups)
    )


def test_a_file_reads_back_what_was_saved(model: Model, tmp_path: Path) -> None:
    data = draw(model, tasks=2)
    data.save(tmp_path / "data.safetensors")
    again = read_labelled(tmp_path / "data.safetensors", model.inputs)
    assert equal(data, again)
    assert again.inputs == model.inputs
    assert list(tmp_path.iterdir()) == [tmp_path / "data.safetensors"]


def test_closed_data_stay_closed_in_a_file_and_a_part_of_them_is_not(
    model: Model, tmp_path: Path
) -> None:
    data, path = replace(draw(model), closed=True), tmp_path / "data.safetensors"
    data.save(path)
    assert read_labelled(path, model.inputs).closed
    assert not data.take(np.arange(3)).closed and not data.part(0, 3).closed
    with safe_open(path, "np") as file:
        about = {**file.metadata(), "closed": "perhaps"}
    save_file(load_file(path), path, metadata=about)
    with pytest.raises(DataError, match="expected true or false, got 'perhaps' - at `closed`"):
        read_labelled(path, model.inputs)


def test_taking_a_run_of_queries_is_slicing_it(model: Model) -> None:
    data = draw(model)
    assert equal(data.take(np.arange(2, 5)), data.part(2, 5))


def test_taken_queries_are_the_slices_one_after_the_other(model: Model) -> None:
    batch = draw(model).batch
    taken, rows = take_queries(batch, model.inputs, np.array([4, 0, 4]))
    check(model.inputs, taken)
    assert len(rows) == taken.rows
    for i, q in enumerate((4, 0, 4)):
        a = slice_queries(taken, model.inputs, i, i + 1)
        b = slice_queries(batch, model.inputs, q, q + 1)
        assert np.array_equal(a.values, b.values)
        assert np.array_equal(a.dense, b.dense)
        assert np.array_equal(a.user_dense, b.user_dense)
    with pytest.raises(BatchError, match="queries"):
        take_queries(batch, model.inputs, np.array([7]))


@pytest.mark.parametrize("rows", [1, 5, 100])
def test_chunks_hold_every_query_once(rows: int) -> None:
    data = draw(zoo.outline("din", rows_scale=1e-3))
    parts = list(data.chunks(rows))
    assert sum(p.queries for p in parts) == data.queries
    assert np.array_equal(np.concatenate([p.labels for p in parts]), data.labels, equal_nan=True)
    assert all(p.rows <= rows or p.queries == 1 for p in parts)


def test_rows_know_who_asked() -> None:
    data = draw(zoo.outline("ncf"), rows=5, queries=2)
    assert data.row_groups.tolist() == [0, 0, 1, 1, 1]
    alone = LabelledData(data.inputs, data.batch, data.labels)
    assert alone.row_groups.tolist() == [0, 0, 1, 1, 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.zeros((5, 1))}, r"expected \(5, tasks\) float32"),
        ({"labels": np.zeros(5, np.float32)}, r"got \(5,\) float32 - at `labels`"),
        ({"labels": np.full((5, 1), 2, np.float32)}, "0, 1 or NaN"),
        ({"groups": np.zeros(3, np.int64)}, r"expected \(2\) int64"),
        ({"values": np.zeros(3, np.int32)}, "lengths"),
        ({"extra": np.zeros(3, np.int32)}, "no array 'extra'"),
        ({"dense": None}, "an array 'dense', got none"),
    ],
)
def test_a_wrong_file_is_refused_by_name_and_place(change, message, tmp_path: Path) -> None:
    model = zoo.outline("ncf")
    path = tmp_path / "data.safetensors"
    draw(model, rows=5, queries=2).save(path)
    arrays = {k: v for k, v in {**load_file(path), **change}.items() if v is not None}
    with pytest.raises(DataError, match=r"data\.safetensors"):
        read_labelled(path, zoo.outline("din").inputs)
    with safe_open(path, "np") as file:
        about = file.metadata()
    save_file(arrays, path, about)
    with pytest.raises(DataError, match=message):
        read_labelled(path, model.inputs)


def test_a_type_that_numpy_lacks_is_refused(tmp_path: Path) -> None:
    model, path = zoo.outline("ncf"), tmp_path / "data.safetensors"
    draw(model, rows=5, queries=2).save(path)
    raw = path.read_bytes()  # 4 bytes a label, or 2 x 2
    at = raw.index(b'"labels":{"dtype":"F32","shape":[5,1]')
    path.write_bytes(raw[:at] + raw[at:].replace(b'F32","shape":[5,1]', b'BF16","shape":[10]', 1))
    with pytest.raises(DataError, match=r"data\.safetensors: cannot read: .*bfloat16"):
        read_labelled(path, model.inputs)


def test_what_is_no_such_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.safetensors"
    with pytest.raises(DataError, match="cannot read"):
        read_labelled(path, ())
    path.write_bytes(b"no tensors here")
    with pytest.raises(DataError, match="cannot read"):
        read_labelled(path, ())
    save_file({"x": np.zeros(1)}, path)
    with pytest.raises(DataError, match="format"):
        read_labelled(path, ())
