import json
from pathlib import Path

import numpy as np
import pytest

from recstack.batch import check
from recstack.data import behaviour
from recstack.errors import ConfigError, DataError

FULL = Path(__file__).parents[3] / "shared" / "data" / "amazon_beauty"
SEQUENCES = "7 20 21 22 23 24\n5 21 20\n9 22 20 30\n"
ATTRIBUTES = {"20": [1, 5], "21": [5, 2], "22": [3], "30": [8], "99": [77]}


def write(folder, sequences=SEQUENCES, attributes=None):
    (folder / "s.txt").write_text(sequences)
    text = json.dumps(ATTRIBUTES) if attributes is None else attributes
    (folder / "a.json").write_text(text)
    return folder / "s.txt", folder / "a.json"


def test_files_are_read_in_order(tmp_path):
    data = behaviour.load(*write(tmp_path))
    assert data.users.tolist() == [7, 5, 9] and data.ids.tolist() == [20, 21, 22, 23, 24, 30]
    assert data.lengths.tolist() == [5, 2, 3]
    assert data.items.tolist() == [0, 1, 2, 3, 4, 1, 0, 2, 0, 5]
    assert data.attribute_ids.tolist() == [1, 2, 3, 5, 8]
    values, lengths = data.attributes
    assert values.tolist() == [0, 3, 3, 1, 2, 4] and lengths.tolist() == [2, 2, 1, 0, 0, 1]
    assert data.item(np.array([0, 2]), np.array([4, 0])).tolist() == [4, 2]


def test_the_last_item_is_test_and_the_one_before_validation(tmp_path):
    data = behaviour.load(*write(tmp_path))
    found = {part: behaviour.cut(data, part) for part in ("train", "valid", "test")}
    assert [x.tolist() for x in found["test"]] == [[0, 2], [4, 2]]
    assert [x.tolist() for x in found["valid"]] == [[0, 2], [3, 1]]
    assert [x.tolist() for x in found["train"]] == [[0, 0, 1], [1, 2, 1]]


def test_features_know_the_items_of_training_positions_alone(tmp_path):
    data = behaviour.load(*write(tmp_path))
    features = behaviour.Features(data, history=3)
    assert features.index.tolist() == [1, 2, 3, 0, 0, 0]
    assert features.table_rows["item"] == 4 and features.table_rows["attributes"] == 5
    user, position = behaviour.cut(data, "test")
    rows = features.of(user, position, data.item(user, position))
    assert rows.padded("history").tolist() == [[2, 3, 0], [3, 1, 0]]
    assert rows.sparse["history"][1].tolist() == [3, 2]
    assert rows.padded("history_category").tolist() == [[2, 3, 0], [3, 4, 0]]
    assert rows.sparse["item"][0].tolist() == [0, 0]
    assert rows.sparse["attributes"][0].tolist() == [0]
    assert rows.sparse["attributes"][1].tolist() == [0, 1]


def test_the_future_does_not_change_a_row(tmp_path):
    data = behaviour.load(*write(tmp_path))
    user, position = behaviour.cut(data, "train")
    before = behaviour.Features(data).of(user, position, data.item(user, position)).batch()
    changed = behaviour.load(*write(tmp_path, SEQUENCES.replace("23 24", "24 23")))
    after = behaviour.Features(changed).of(user, position, changed.item(user, position)).batch()
    assert np.array_equal(before.values, after.values)
    assert np.array_equal(before.lengths, after.lengths)


def test_a_query_holds_the_history_once(tmp_path):
    data = behaviour.load(*write(tmp_path))
    features = behaviour.Features(data, history=2)
    user, position = np.array([0, 0, 0, 1, 1]), np.array([3, 3, 3, 1, 1])
    rows = features.of(user, position, np.array([3, 0, 1, 2, 0]))
    batch = rows.batch(query_offsets=np.array([0, 3, 5], np.int32))
    check(features.schema, batch)
    assert (batch.queries, batch.rows) == (2, 5)
    assert batch.lengths[:4].tolist() == [2, 1, 2, 1] and batch.values[:3].tolist() == [2, 3, 2]


def test_no_attributes_are_needed(tmp_path):
    data = behaviour.load(write(tmp_path)[0])
    features = behaviour.Features(data)
    user, position = behaviour.cut(data, "test")
    batch = features.of(user, position, data.item(user, position)).batch()
    check(features.schema, batch)
    assert features.table_rows["attributes"] == 1


@pytest.mark.parametrize(
    ("sequences", "where"),
    [
        ("7 20\n5\n", r"s.txt:2: expected a user and items, got 1 fields"),
        ("7 20\n\n", r"s.txt:2: expected a user and items, got 0 fields"),
        ("7 20 2x\n", r"s.txt:1: expected an integer .* got '2x' - at column 3"),
        ("7 20\n7 21\n", r"s.txt:2: expected each user once, got 7 - at column 1"),
        ("", r"s.txt:1: expected sequences, got none"),
    ],
)
def test_a_bad_sequence_names_file_line_and_column(tmp_path, sequences, where):
    with pytest.raises(DataError, match=where):
        behaviour.load(*write(tmp_path, sequences))


@pytest.mark.parametrize(
    ("attributes", "where"),
    [
        ('{"20": [1,\n 2}', r"a.json:2: .* - at column 3"),
        ("[1]", r"a.json: expected an object, got list"),
        ('{"x": [1]}', r"a.json: expected an item id as key, got 'x'"),
        ('{"20": [1, true]}', r"a.json: expected a list of integers, .* - at `20`"),
        ('{"20": 5}', r"a.json: expected a list of integers, got 5 - at `20`"),
        ('{"20": ' + "[" * 100_000, r"a.json: expected JSON: .*recursion"),
        ('{"20": [' + "9" * 5000 + "]}", r"a.json: expected JSON: .*4300 digits"),
        ('{"' + "9" * 5000 + '": [1]}', r"a.json: expected an item id as key"),
        ('{"20": [-1]}', r"a.json: expected a list of integers"),
    ],
)
def test_bad_attributes_are_named(tmp_path, attributes, where):
    with pytest.raises(DataError, match=where):
        behaviour.load(*write(tmp_path, attributes=attributes))


def test_histories_hold_something(tmp_path):
    with pytest.raises(ConfigError, match="history >= 1"):
        behaviour.Features(behaviour.load(*write(tmp_path)), history=0)


@pytest.mark.skipif(not FULL.is_dir(), reason=f"no behaviour data at {FULL}")
def test_the_published_files():
    data = behaviour.load(FULL / "Beauty.txt.gz", FULL / "Beauty_item2attributes.json.gz")
    assert (len(data.users), len(data.ids), len(data.items)) == (22_363, 12_101, 198_502)
    assert len(data.attribute_ids) == 637
    assert behaviour.cut(data, "train")[0].size == 198_502 - 3 * 22_363
