import gzip
from pathlib import Path

import numpy as np
import pytest

from recstack.data import criteo
from recstack.errors import ConfigError, DataError

FULL = Path(__file__).parents[3] / "shared" / "data" / "criteo_samples"


def line(label="0", **changes):
    fields = dict.fromkeys(criteo.FIELDS, "") | {"label": label} | changes
    return "\t".join(fields.values()) + "\n"


LINES = (
    line(I1="9", I2="-3", C1="68fd1e64", C26="0000000a"),
    line("1", C1="68fd1e64"),
    line(C1="05db9164", I13="1"),
)


def write(folder, lines=LINES, name="c.tsv"):
    path = folder / name
    path.write_text("".join(lines))
    return path


def whole(path, encoder, rows=8192):
    return list(criteo.batches(path, encoder, rows))


def test_counts_pass_a_logarithm_and_missing_ones_are_zero(tmp_path):
    path = write(tmp_path)
    (data,) = whole(path, criteo.Vocabulary.fit([path]))
    assert data.inputs == criteo.SCHEMA and data.labels.tolist() == [[0], [1], [0]]
    assert data.batch.dense[0, :3].tolist() == [np.float32(np.log(10)), 0, 0]
    assert data.batch.dense[2, 12] == np.float32(np.log(2)) and not data.batch.dense[1].any()


def test_the_vocabulary_is_that_of_training_and_0_is_unknown(tmp_path):
    encoder = criteo.Vocabulary.fit([write(tmp_path)])
    other = write(tmp_path, (line(C1="05db9164"), line(C1="ffffffff"), line(C2="1")), "d.tsv")
    (data,) = whole(other, encoder)
    columns = data.batch.values.reshape(26, 3)
    assert columns[0].tolist() == [2, 0, 0] and columns[1].tolist() == [1, 1, 0]
    assert encoder.table_rows["C1"] == 3 and encoder.table_rows["C2"] == 2
    rare = criteo.Vocabulary.fit([write(tmp_path)], min_count=2)
    assert rare.table_rows["C1"] == 2 and rare.table_rows["C26"] == 2


def test_hashing_bounds_every_index_and_0_is_missing(tmp_path):
    encoder = criteo.Hashing(7)
    (data,) = whole(write(tmp_path), encoder)
    columns = data.batch.values.reshape(26, 3)
    assert columns[25].tolist() == [1 + 10 % 6, 0, 0]
    assert columns.max() < 7 and columns[0, 0] == 1 + 0x68FD1E64 % 6
    with pytest.raises(ConfigError, match="at least 2 rows"):
        criteo.Hashing(1)


def test_a_stream_in_parts_is_the_whole(tmp_path):
    path = tmp_path / "c.tsv.gz"
    path.write_bytes(gzip.compress("".join(LINES * 3).encode()))
    encoder = criteo.Hashing(50)
    parts, (one,) = whole(path, encoder, rows=4), whole(path, encoder)
    assert [p.rows for p in parts] == [4, 4, 1]
    values = np.concatenate([p.batch.values.reshape(26, -1) for p in parts], axis=1)
    assert np.array_equal(values.reshape(-1), one.batch.values)
    assert np.array_equal(np.concatenate([p.batch.dense for p in parts]), one.batch.dense)


def test_nothing_behind_the_first_part_is_read_early(tmp_path):
    source = criteo.batches(write(tmp_path, (*LINES, "bad\n")), criteo.Hashing(9), rows=3)
    assert next(source).rows == 3
    with pytest.raises(DataError, match=r"c.tsv:4: expected 40 fields, got 1"):
        next(source)


@pytest.mark.parametrize(
    ("bad", "where"),
    [
        (line("2"), r"c.tsv:4: expected 0 or 1, got '2' - at label \(column 1\)"),
        (line(""), r"c.tsv:4: expected 0 or 1, got '' - at label"),
        (line(I3="1.5"), r"c.tsv:4: expected an integer or nothing, .* - at I3 \(column 4\)"),
        (line(C2="xyz"), r"c.tsv:4: expected up to 8 hexa.*'xyz' - at C2 \(column 16\)"),
        (line(C26="123456789"), r"c.tsv:4: .* at C26 \(column 40\)"),
        (line()[2:], r"c.tsv:4: expected 40 fields, got 39"),
    ],
)
def test_a_bad_line_names_file_line_and_column(tmp_path, bad, where):
    with pytest.raises(DataError, match=where):
        whole(write(tmp_path, (*LINES, bad)), criteo.Hashing(9))


def test_empty_files_and_wrong_settings_are_refused(tmp_path):
    with pytest.raises(DataError, match="expected rows, got none"):
        whole(write(tmp_path, ()), criteo.Hashing(9))
    with pytest.raises(ConfigError, match="rows >= 1"):
        whole(write(tmp_path), criteo.Hashing(9), rows=0)
    with pytest.raises(ConfigError, match="26 columns"):
        criteo.Vocabulary([["a"]])


@pytest.mark.skipif(not FULL.is_dir(), reason=f"no Criteo data at {FULL}")
def test_the_sample():
    train, test = (FULL / f"wide_resdnn_criteo_{part}.tsv.gz" for part in ("train", "test"))
    encoder = criteo.Vocabulary.fit([train], min_count=2)
    parts = whole(train, encoder, rows=1000)
    assert [p.rows for p in parts] == [1000] * 7 + [200]
    (held_out,) = whole(test, encoder)
    limits = np.array(list(encoder.table_rows.values()))
    assert held_out.rows == 391
    assert (held_out.batch.values.reshape(26, -1).max(axis=1) < limits).all()
