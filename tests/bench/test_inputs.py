from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from recstack.bench.inputs import make_inputs, row_bytes
from recstack.engine.reference.checks import check_batch
from recstack.errors import ConfigError, DataError
from recstack.model import zoo

MODEL = zoo.outline("rm1", variant="deeprecsys", rows_scale=0.001)


def test_row_bytes_counts_rows_and_dense_columns() -> None:
    assert row_bytes(MODEL) == 4 * (8 * 80 * 32 + 128)


@pytest.mark.parametrize("kind", ["uniform", "zipf", "zipf:0.6", "reuse:low"])
def test_batches_fit_the_model_and_differ(kind: str) -> None:
    inputs = make_inputs(MODEL, 3, kind, seed=1, most=10)
    assert len(inputs.batches) == 10
    assert inputs.cold_bytes == 10 * 3 * row_bytes(MODEL)
    for batch in inputs.batches:
        check_batch(MODEL, batch)
        assert batch.values.flags.c_contiguous and batch.dense.flags.c_contiguous
        assert batch.values.min() >= 0 and batch.values.max() < 4000
    assert len({batch.values.tobytes() for batch in inputs.batches}) == 10
    assert len({batch.dense.tobytes() for batch in inputs.batches}) == 10


def test_every_feature_of_a_cut_batch_keeps_its_own_limit() -> None:
    model = zoo.outline("din", variant="deeprecsys", rows_scale=0.001)
    limits = list(model.index_limits.values())
    for batch in make_inputs(model, 2, "uniform", seed=0, most=50).batches:
        values = batch.values.reshape(len(limits), -1)
        assert (values < np.array(limits)[:, None]).all()


def test_zipf_repeats_rows_more_than_uniform() -> None:
    distinct = {
        kind: len(np.unique(make_inputs(MODEL, 8, kind, 0, most=8).batches[0].values))
        for kind in ("uniform", "zipf")
    }
    assert distinct["zipf"] < 0.8 * distinct["uniform"]


def test_enough_batches_for_cold_rows() -> None:
    inputs = make_inputs(MODEL, 64, "uniform", seed=0)
    assert inputs.cold_bytes >= 128 << 20


def test_a_stream_keeps_its_reuse(tmp_path: Path) -> None:
    path = tmp_path / "reuse.txt.gz"
    path.write_bytes(gzip.compress(b"\n".join(b"%d" % (i % 7) for i in range(1000))))
    for batch in make_inputs(MODEL, 2, str(path), seed=0, most=4).batches:
        by_feature = batch.values.reshape(8, -1)
        assert [len(np.unique(v)) for v in by_feature] == [7] * 8
    model = zoo.outline("rm1", rows_scale=0.001, user_scope_tables=1)
    for kind in (str(path), "reuse:low"):
        with pytest.raises(ConfigError, match="of the user"):
            make_inputs(model, 2, kind, seed=0)


def test_reuse_runs_on_from_batch_to_batch() -> None:
    model = zoo.outline("rm1", variant="deeprecsys")
    seen = {}
    for kind in ("uniform", "reuse:low", "reuse:medium"):
        batches = make_inputs(model, 4, kind, seed=0, most=64).batches
        first = np.stack([b.values.reshape(8, -1)[0] for b in batches])
        seen[kind] = len(np.unique(first)) / first.size
    assert seen["reuse:medium"] < 0.55 < seen["reuse:low"] < 0.95 < seen["uniform"]


def test_a_file_that_is_no_stream_is_refused(tmp_path: Path) -> None:
    for text in ("a\n", "", "-1\n"):
        (tmp_path / "x.txt").write_text(text)
        with pytest.raises(DataError, match=r"x\.txt"):
            make_inputs(MODEL, 1, str(tmp_path / "x.txt"), seed=0)
    with pytest.raises(ConfigError, match="got 'nothing'"):
        make_inputs(MODEL, 1, "nothing", seed=0)


@pytest.mark.parametrize(
    "damage",
    [
        ("not.gz", b"12"),
        ("cut.gz", gzip.compress(b"1\n2\n")[:-4]),
        ("corrupt.gz", gzip.compress(b"1\n2\n")[:10] + bytes([255]) * 16),
        ("huge.txt", b"1\n" + b"9" * 30),
    ],
    ids=lambda damage: damage[0],
)
def test_a_damaged_stream_is_named(tmp_path: Path, damage: tuple[str, bytes]) -> None:
    name, data = damage
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=name):
        make_inputs(MODEL, 1, str(tmp_path / name), seed=0)


def test_models_with_users_get_whole_batches() -> None:
    model = zoo.outline("din", rows_scale=1e-4)
    for batch in make_inputs(model, 3, "uniform", seed=0, most=3).batches:
        check_batch(model, batch)
