import numpy as np
import pytest
from scipy import stats

from recstack.data.negatives import Unseen
from recstack.errors import ConfigError

USER = np.array([0, 0, 0, 1, 2, 2])
ITEM = np.array([1, 4, 4, 0, 5, 2])


def test_never_what_the_user_touched_and_distinct_in_a_row():
    draw = Unseen(USER, ITEM, items=8)
    users = np.repeat([0, 1, 2, 9], 200)
    found = draw(np.random.default_rng(0), users, 5)
    assert found.min() == 0 and found.max() == 7
    for user in range(3):
        assert not np.isin(found[users == user], ITEM[user == USER]).any()
    assert all(len(set(row)) == 5 for row in found.tolist())


def test_all_unseen_items_are_equally_likely():
    draw = Unseen(USER, ITEM, items=8, first=1)
    found = draw(np.random.default_rng(1), np.zeros(5000, np.int64), 2)
    counts = np.bincount(found.reshape(-1), minlength=8)
    assert not counts[[0, 1, 4]].any()
    assert stats.chisquare(counts[[2, 3, 5, 6, 7]]).pvalue > 1e-3


def test_the_generator_decides():
    draw = Unseen(USER, ITEM, items=8)
    one, same, other = (draw(np.random.default_rng(s), USER, 3) for s in (0, 0, 1))
    assert np.array_equal(one, same) and not np.array_equal(one, other)


def test_more_than_there_are_is_refused():
    draw = Unseen(USER, ITEM, items=8, first=1)
    assert sorted(draw(np.random.default_rng(0), np.array([0]), 5)[0]) == [2, 3, 5, 6, 7]
    with pytest.raises(ConfigError, match="at most 5 negatives, got 6"):
        draw(np.random.default_rng(0), np.array([0]), 6)
