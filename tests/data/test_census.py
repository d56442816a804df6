import gzip
from pathlib import Path

import numpy as np
import pytest

from recstack.batch import check
from recstack.data import census
from recstack.errors import ConfigError, DataError

FULL = Path(__file__).parents[3] / "shared" / "data" / "census_income_kdd"


def line(**changes):
    fields = {name: f"{name} text" for name in census.COLUMNS}
    fields |= dict.fromkeys(census.DENSE, "0")
    fields |= {"age": "38", "instance_weight": "1032.38", "income": "- 50000."} | changes
    return ", ".join(fields.values()) + "\n"


LINES = (
    line(age="20", sex="Male"),
    line(age="40", sex="Female", marital_stat="Never married", income="50000+."),
    line(age="60", sex="Male", education="Masters", capital_gains="99"),
    line(age="70", sex="Other", income="50000+."),
)


def write(folder, lines=LINES):
    path = folder / "census.txt"
    path.write_text("".join(lines))
    return path


def test_a_file_becomes_columns_and_two_labels(tmp_path):
    data = census.load(write(tmp_path))
    assert data.dense[:, 0].tolist() == [20, 40, 60, 70] and data.dense[2, 2] == 99
    assert data.labels.tolist() == [[False, False], [True, True], [False, False], [True, False]]
    assert data.values["sex"] == ("Male", "Female", "Other")
    assert data.codes["sex"].tolist() == [0, 1, 0, 2]
    assert "marital_stat" not in data.codes and len(data.codes) == 32
    packed = tmp_path / "census.gz"
    packed.write_bytes(gzip.compress((tmp_path / "census.txt").read_bytes()))
    assert census.load(packed).labels.tolist() == data.labels.tolist()


def test_vocabulary_and_scale_are_those_of_the_training_rows(tmp_path):
    data = census.load(write(tmp_path))
    features = census.Features(data, np.array([0, 1]))
    rows = features.of(np.arange(4))
    assert rows.sparse["sex"][0].tolist() == [1, 2, 1, 0]
    assert rows.sparse["education"][0].tolist() == [1, 1, 0, 1]
    assert features.table_rows["sex"] == 3 and features.table_rows["education"] == 2
    assert rows.dense[:, 0].tolist() == [-1, 1, 3, 4]
    assert rows.dense[2, 2] == np.float32(np.log1p(99))
    batch = rows.batch()
    check(census.SCHEMA, batch)
    assert batch.rows == batch.queries == 4


def test_split_has_every_row_once_and_the_seed_decides(tmp_path):
    data = census.load(write(tmp_path, LINES * 5))
    parts = census.split(data, valid=3, test=6)
    assert [len(p) for p in parts] == [11, 3, 6]
    assert sorted(np.concatenate(parts).tolist()) == list(range(20))
    assert census.split(data, 3, 6, seed=1)[2].tolist() != parts[2].tolist()
    with pytest.raises(ConfigError, match="below 20 in all, got 10, 10"):
        census.split(data, 10, 10)


@pytest.mark.parametrize(
    ("bad", "where"),
    [
        (
            line(age="38.5"),
            r"census.txt:5: expected an int.* got '38.5' - at age \(column 1\)",
        ),
        (line(weeks_worked="?"), r"census.txt:5: .* got '\?' - at weeks_worked \(column 40\)"),
        (line(income="50000."), r"census.txt:5: expected one of .* at income \(column 42\)"),
        ("38, Private\n", r"census.txt:5: expected 42 fields, got 2"),
        ("\n", r"census.txt:5: expected 42 fields, got 1"),
    ],
)
def test_a_bad_line_names_file_line_and_column(tmp_path, bad, where):
    with pytest.raises(DataError, match=where):
        census.load(write(tmp_path, (*LINES, bad)))


def test_an_empty_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="expected rows, got none"):
        census.load(write(tmp_path, ()))


@pytest.mark.skipif(not FULL.is_dir(), reason=f"no census data at {FULL}")
def test_the_published_file():
    data = census.load(FULL / "census-income.test.gz")
    assert data.labels.sum(axis=0).tolist() == [6186, 43143] and len(data.labels) == 99_762
    train, _, test = census.split(data, valid=10_000, test=20_000)
    features = census.Features(data, train)
    rows = features.of(test)
    for name, limit in features.table_rows.items():
        assert rows.sparse[name][0].min() >= 0 and rows.sparse[name][0].max() < limit
    assert abs(features.of(train).dense.mean(axis=0)).max() < 1e-5
