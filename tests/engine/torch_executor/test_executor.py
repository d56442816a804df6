"""The torch executor against the reference, and its promises about memory and errors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import recstack
from recstack.batch import Batch
from recstack.engine.reference import reference
from recstack.engine.torch_executor import TorchExecutor
from recstack.engine.torch_executor.lookups import plan_bags
from recstack.engine.torch_executor.steps import MAKERS, plan_steps
from recstack.engine.torch_executor.weights import Tensors, as_tensor
from recstack.errors import BatchError, IndexOutOfRange, NonFinite
from recstack.model import Model, load
from recstack.model.ops import AnyOp, EmbeddingBag, Opaque, SequenceMask
from tests.engine.draft import QUERY_ROWS_CASES, Draft, make_batch
from tests.engine.small_models import SMALL_MODELS


def assert_agrees(executor: TorchExecutor, model: Model, batch: Batch) -> None:
    scores = executor.run(batch)
    assert scores.dtype == np.float32 and scores.flags.c_contiguous
    np.testing.assert_allclose(scores, reference(model, batch), rtol=1e-5, atol=1e-5)


def test_every_op_can_be_made():
    assert set(MAKERS) | {EmbeddingBag, SequenceMask, Opaque} == set(AnyOp.__args__[0].__args__)


@pytest.mark.parametrize("fuse_tables", [False, True])
@pytest.mark.parametrize("name", SMALL_MODELS)
def test_agrees_with_the_reference(name, fuse_tables):
    model, batch = SMALL_MODELS[name]()
    executor = TorchExecutor(model, fuse_tables=fuse_tables)
    assert_agrees(executor, model, batch)
    for seed, query_rows in enumerate(QUERY_ROWS_CASES):
        for dtype in (np.int32, np.int64):
            assert_agrees(executor, model, make_batch(model, query_rows, seed, dtype))


@pytest.mark.parametrize("name", ["dlrm", "din"])
def test_compiled_agrees_with_the_reference(name):
    model, batch = SMALL_MODELS[name]()
    compile_ = torch.compile
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "compile", lambda fn: compile_(fn, backend="eager"))
        executor = TorchExecutor(model, compile=True)
    assert_agrees(executor, model, batch)
    assert_agrees(executor, model, make_batch(model, (5,)))


def test_batches_and_weights_are_not_written_to():
    for make in SMALL_MODELS.values():
        model, batch = make()
        frozen = (batch.dense, batch.user_dense, batch.values, *model.weights.values())
        for array in frozen:
            array.flags.writeable = False
        before = [array.copy() for array in frozen]
        TorchExecutor(model).run(batch)
        for array, copy in zip(frozen, before, strict=True):
            np.testing.assert_array_equal(array, copy)


def test_memory_mapped_weights_are_used_where_they_lie(tmp_path):
    model, batch = SMALL_MODELS["dlrm"]()
    model.save(tmp_path / "m")
    loaded = load(tmp_path / "m")
    tensors = Tensors(loaded, torch.device("cpu"), fuse_tables=False)
    for name, array in loaded.weights.items():
        assert not array.flags.writeable
        assert tensors(name).data_ptr() == array.__array_interface__["data"][0]
    assert_agrees(TorchExecutor(loaded), model, batch)


def test_a_tensor_keeps_its_array_alive():
    array = np.arange(1000, dtype=np.float32)
    array.flags.writeable = False
    tensor = as_tensor(array)
    del array
    assert tensor.sum().item() == 499500


def test_arrays_with_gaps_are_copied():
    assert as_tensor(np.arange(6.0).reshape(2, 3).T).tolist() == [[0, 3], [1, 4], [2, 5]]


def test_fused_tables_are_read_by_one_call():
    d = Draft()
    bags = [d.bag(d.sparse(3), rows=5 + i) for i in range(4)]
    model = d.model(*bags, d.bag(d.sparse(3), dim=6))
    apart = plan_bags(model, Tensors(model, torch.device("cpu"), fuse_tables=False))
    fused = plan_bags(model, Tensors(model, torch.device("cpu"), fuse_tables=True))
    assert [len(g.outputs) for g in apart] == [1] * 5
    assert [len(g.outputs) for g in fused] == [4, 1]
    assert fused[0].bases == (0, 5, 11, 18)


def test_a_shared_table_is_read_by_one_call_without_fusing():
    d = Draft()
    table = d.weight(40, 4)
    features = [d.sparse(2), d.sparse(1), d.sparse(2)]
    at = zip(features, (0, 10, 20), strict=True)
    ops = [d.op("embedding_bag", f, table=table, row_offset=o) for f, o in at if f != features[1]]
    model = d.model(*ops, d.bag(features[1]))
    (group, _) = plan_bags(model, Tensors(model, torch.device("cpu"), fuse_tables=False))
    assert group.features == (0, 2) and group.bases == (0, 20)
    assert_agrees(TorchExecutor(model), model, make_batch(model))


def test_constants_are_computed_once_and_user_values_repeated_once():
    model, _ = SMALL_MODELS["constants"]()
    with torch.inference_mode():
        steps, constants = plan_steps(model, Tensors(model, torch.device("cpu"), False))
    assert {scope for _, scope in constants} == {"const"}
    assert not any(step.output[1] == "const" for step in steps)
    repeated = [step.output for step in steps if step.inputs[-1][0] == ""]
    assert len(repeated) == len(set(repeated))


def test_refuses_what_the_reference_refuses():
    d = Draft()
    model = d.model(d.bag(d.sparse(2, fixed=True)), d.dense(2))
    batch, executor = make_batch(model, (3,)), TorchExecutor(model)
    values, dense = batch.values.copy(), batch.dense.copy()
    values[3], dense[1, 1] = 11, np.nan
    with pytest.raises(IndexOutOfRange) as caught:
        executor.run(batch.replace(values=values))
    assert (caught.value.row, caught.value.value, caught.value.limit) == (1, 11, 11)
    with pytest.raises(NonFinite):
        executor.run(batch.replace(dense=dense))
    with pytest.raises(BatchError):
        executor.run(batch.replace(dense=dense[:2]))


def test_check_can_be_turned_off():
    d = Draft()
    model = d.model(d.dense(2))
    dense = np.array([[np.nan, 1]], np.float32)
    scores = TorchExecutor(model, check=False).run(make_batch(model, (1,)).replace(dense=dense))
    np.testing.assert_array_equal(scores, dense)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", SMALL_MODELS)
def test_agrees_on_a_gpu(name):
    model, batch = SMALL_MODELS[name]()
    assert_agrees(TorchExecutor(model, device="cuda"), model, batch)


def test_without_torch_the_error_names_the_extra():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from recstack.errors import MissingExtra\n"
        "try:\n    import recstack.engine.torch_executor\n"
        "except MissingExtra as error:\n    print(error)"
    )
    root = str(Path(recstack.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": root}, capture_output=True, text=True
    )
    assert done.stdout.strip() == "this needs the package 'torch': pip install 'recstack[torch]'"
