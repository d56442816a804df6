from pathlib import Path

import numpy as np
import pytest

from recstack.batch import check
from recstack.data import ncf
from recstack.errors import DataError

FULL = Path(__file__).parents[3] / "shared" / "data" / "ncf_lastfm"
TRAIN = "3\t10\t5\n3\t11\t2.5\t978300760\n8\t12\t1\n"
TEST = "3\t12\t1\n9\t11\t1\n"
NEGATIVE = "(3,12)\t13\t12\t10\n(9,11)\t10\t12\t13\n"


def write(folder, train=TRAIN, test=TEST, negative=NEGATIVE):
    for part, text in (
        ("train.rating", train),
        ("test.rating", test),
        ("test.negative", negative),
    ):
        (folder / f"set.{part}").write_text(text)
    return folder


def test_ids_become_indices_of_the_training_part(tmp_path):
    data = ncf.load(write(tmp_path), "set")
    assert data.users.tolist() == [3, 8] and data.items.tolist() == [10, 11, 12]
    assert data.user.tolist() == [1, 1, 2] and data.item.tolist() == [1, 2, 3]
    assert data.test_user.tolist() == [1, 0] and data.test_item.tolist() == [3, 2]
    assert data.table_rows == {"user": 3, "item": 4}


def test_a_candidate_that_is_the_test_item_is_left_out(tmp_path):
    values, lengths = ncf.load(write(tmp_path), "set").negatives
    assert values.tolist() == [0, 1, 1, 3, 0] and lengths.tolist() == [2, 3]


def test_ranking_puts_the_test_item_first_in_each_query(tmp_path):
    data = ncf.load(write(tmp_path), "set")
    rows, labels, offsets = ncf.ranking(data)
    batch = rows.batch(query_offsets=offsets)
    check(ncf.SCHEMA, batch)
    assert offsets.tolist() == [0, 3, 7]
    assert labels.tolist() == [True, False, False, True, False, False, False]
    assert batch.values.tolist() == [1, 0, 3, 0, 1, 2, 1, 3, 0]
    rows, labels, offsets = ncf.ranking(data, 1)
    assert offsets.tolist() == [0, 2, 4] and rows.sparse["item"][0].tolist() == [3, 0, 2, 1]


@pytest.mark.parametrize(
    ("files", "where"),
    [
        ({"train": "3\t10\n"}, r"set.train.rating:1: expected 3 or 4 fields .* got 2"),
        ({"train": "3\tx\t1\n"}, r"train.rating:1: .* got 'x' - at item \(column 2\)"),
        ({"train": "-3\t1\t1\n"}, r"train.rating:1: .* got '-3' - at user \(column 1\)"),
        ({"train": "3\t1\tbad\n"}, r"train.rating:1: .* got 'bad' - at rating \(column 3\)"),
        ({"train": "3\t1\t1\tnow\n"}, r"train.rating:1: .* got 'now' - at time \(column 4\)"),
        ({"train": ""}, r"train.rating:1: expected ratings, got none"),
        ({"test": ""}, r"test.rating:1: expected ratings, got none"),
        ({"negative": "(3,12)\t13\n"}, r"test.negative:2: expected 2 lines, as set.test.rating"),
        ({"negative": "(3,11)\t1\n"}, r"negative:1: expected \(3,12\) as in the test .*'\(3,11\)'"),
        ({"negative": "3,12\t1\n"}, r"test.negative:1: expected \(user,item\), got '3,12'"),
        ({"negative": f"({'3' * 5000},12)\t1\n"}, r"negative:1: expected \(user,item\)"),
        ({"negative": "(3,12)\n"}, r"test.negative:1: expected negatives, got none"),
        ({"negative": "(3,12)\t1\t\n"}, r"test.negative:1: .* got '' - at column 3"),
        ({"negative": "(3,12)\t1\t2\t1\n"}, r"negative:1: .* once, got 1 - at column 4"),
        ({"negative": NEGATIVE + "(1,1)\t1\n"}, r"test.negative:3: expected the end, got"),
    ],
)
def test_a_bad_line_names_file_line_and_column(tmp_path, files, where):
    with pytest.raises(DataError, match=where):
        ncf.load(write(tmp_path, **files), "set")


@pytest.mark.skipif(not FULL.is_dir(), reason=f"no NCF data at {FULL}")
def test_the_published_files():
    data = ncf.load(FULL, "lastfm")
    assert (len(data.users), len(data.items), len(data.user)) == (1741, 2665, 67_408)
    assert len(data.test_user) == 1741
    assert np.bincount(data.negatives[1]).nonzero()[0].tolist() == [98, 99]
    assert ncf.ranking(data)[1].sum() == 1741
