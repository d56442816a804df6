"""The torch executor in buffers of fixed shapes: here on the CPU, on a GPU where there is one."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from recstack.engine import DeviceConfig, compile
from recstack.engine.reference import reference
from recstack.engine.torch_executor import GraphExecutor, RunCounts
from recstack.engine.torch_executor.graphs import ExactRecurrences
from recstack.engine.torch_executor.padding import empty_batch, one_query, pad
from recstack.errors import ConfigError, IndexOutOfRange
from recstack.model import Model
from tests.engine.devices import DEVICES
from tests.engine.draft import QUERY_ROWS_CASES, Draft, make_batch
from tests.engine.small_models import SMALL_MODELS

pytestmark = pytest.mark.filterwarnings("ignore::recstack.engine.OpaqueWarning")


def made(model: Model, device: str = "cpu", **fields) -> GraphExecutor:
    fields = {"largest_rows": 128, "largest_queries": 8, **fields}
    executor = compile(model, DeviceConfig(device=device, **fields))
    assert isinstance(executor, GraphExecutor)
    return executor


def assert_agrees(executor: GraphExecutor, batch) -> None:
    scores = executor.run(batch)
    assert scores.dtype == np.float32 and scores.flags.c_contiguous
    np.testing.assert_allclose(scores, reference(executor.model, batch), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", SMALL_MODELS)
def test_padding_changes_no_score(name):
    model, given = SMALL_MODELS[name]()
    for batch in (given, make_batch(model, (0, 5, 0, 2, 0), 3, np.int64)):
        padded = pad(model, batch, 16, 8)
        assert (padded.rows, padded.queries, padded.dense.shape[0]) == (16, 8, 16)
        np.testing.assert_array_equal(
            reference(model, padded)[: batch.rows], reference(model, batch)
        )
        same = pad(model, batch, batch.rows, batch.queries)
        np.testing.assert_array_equal(reference(model, same), reference(model, batch))
    assert pad(model, empty_batch(model), 4, 1).rows == 4


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", SMALL_MODELS)
def test_every_op_agrees_with_the_reference(name, device):
    model, batch = SMALL_MODELS[name]()
    executor = made(model, device)
    cases = [make_batch(model, rows, seed) for seed, rows in enumerate(QUERY_ROWS_CASES)]
    for case in (batch, *cases, make_batch(model, (3, 9), 5, np.int64), batch):
        assert_agrees(executor, case)
    opaque = any(op.kind == "opaque" for op in model.ops)
    assert (executor.counts.fixed == 0) == opaque


def ragged() -> Model:
    d = Draft()
    return d.model(d.bag(d.sparse(3)), d.bag(d.sparse(2), pooling="mean"))


@pytest.mark.parametrize("device", DEVICES)
def test_what_exceeds_the_buffers_runs_without_them_and_is_counted(device):
    model = ragged()
    executor = made(model, device, largest_rows=8)
    assert_agrees(executor, make_batch(model, (8,)))
    assert executor.counts == RunCounts(fixed=1)
    assert_agrees(executor, make_batch(model, (9,)))  # rows
    crowded = make_batch(model, (1,)).replace(
        values=np.zeros(1000, np.int32), lengths=np.array([[999], [1]], np.int32)
    )
    assert_agrees(executor, crowded)  # lookups
    assert executor.counts == RunCounts(fixed=1, eager=2)


def test_queries_count_only_where_something_belongs_to_the_user():
    model = ragged()
    batch = make_batch(model, (1, 2, 1))
    assert one_query(model, batch).queries == 1
    executor = made(model, largest_queries=1)
    assert_agrees(executor, batch)
    d = Draft()
    user = d.model(d.bag(d.sparse(2)), d.bag(d.sparse(2, scope="user")))
    executor_of_user = made(user, largest_queries=2)
    for query_rows in ((4,), (1, 2), (1, 2, 1)):
        assert_agrees(executor_of_user, make_batch(user, query_rows))
    assert (executor.counts, executor_of_user.counts) == (RunCounts(1), RunCounts(2, 1))


@pytest.mark.parametrize("device", DEVICES)
def test_one_beside_it_shares_weights_and_nothing_else(device):
    model, batch = SMALL_MODELS["din"]()
    first = made(model, device)
    second = first.beside()
    want = reference(model, batch)
    wrong = []

    def work(executor: GraphExecutor) -> None:
        for _ in range(50):
            wrong.append(not np.allclose(executor.run(batch), want, rtol=1e-5, atol=1e-5))

    threads = [threading.Thread(target=work, args=(e,)) for e in (first, first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wrong) == 150 and not any(wrong)
    assert (first.counts.fixed, second.counts.fixed) == (100, 50)


def test_bad_batches_are_refused_as_the_reference_refuses_them():
    model = ragged()
    batch = make_batch(model, (3,))
    values = batch.values.copy()
    values[0] = 1 << 20
    executor = made(model)
    with pytest.raises(IndexOutOfRange):
        executor.run(batch.replace(values=values))
    assert_agrees(executor, batch)


def test_a_device_that_is_absent_is_named():
    model = ragged()
    with pytest.raises(ConfigError, match="expected a GPU for device 'cuda:99', torch finds"):
        compile(model, DeviceConfig(device="cuda:99"))
    with pytest.raises(ConfigError, match="expected a torch device such as"):
        compile(model, DeviceConfig(device="gpu"))


def test_a_lane_that_ends_does_not_round_the_recurrence_of_another():
    rnn = torch.backends.cudnn.rnn
    before, exact = rnn.fp32_precision, ExactRecurrences()
    with exact:
        assert rnn.fp32_precision == "ieee"
        first, second = threading.Event(), threading.Event()

        def lane() -> None:
            with exact:
                first.set()
                assert second.wait(30)

        other = threading.Thread(target=lane)
        other.start()
        assert first.wait(30)
    try:
        assert rnn.fp32_precision == "ieee"  # this lane has left, the other one runs
    finally:
        second.set()
        other.join()
    assert rnn.fp32_precision == before
