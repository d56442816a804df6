from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import hypergeom

from recstack.data.drawn import drawn_gains, gains_by_better
from recstack.data.metrics import hit_rate, ndcg
from recstack.data.paired import PairedTest
from recstack.data.paired_metrics import parse_metric
from recstack.errors import ConfigError, Unprovable


@pytest.mark.parametrize(("which", "slow"), [("hr", hit_rate), ("ndcg", ndcg)])
def test_it_is_the_mean_over_every_draw(which: str, slow) -> None:
    """Two queries of 9 and 7 rows with ties; all draws of 3 others, one by one."""
    scores, offsets = np.random.default_rng(0).integers(0, 6, 16) / 4, np.array([0, 9, 16])
    found = drawn_gains(scores, offsets, k=2, of=4, which=which)
    labels = np.array([1, 0, 0, 0])
    for begin, end in ((0, 9), (9, 16)):
        for row in range(begin, end):
            others = [i for i in range(begin, end) if i != row]
            each = [
                slow(labels, scores[[row, *drawn]], [0, 4], 2) for drawn in combinations(others, 3)
            ]
            assert found[row] == pytest.approx(np.mean(each), abs=1e-12)


def test_chances_among_thousands_are_scipys() -> None:
    found = gains_by_better(2600, k=10, of=100, which="hr")
    wanted = hypergeom.cdf(9, 2600, np.arange(2601), 99)
    np.testing.assert_allclose(found, wanted, atol=1e-10)
    assert (np.diff(found) <= 1e-9).all() and found[0] == 1 and found[-1] == 0


def ranked(queries: int, rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, the first row of each query positive, scores and offsets."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(queries * rows) % rows == 0).astype(float)[:, None]
    scores = rng.standard_normal((queries * rows, 1)) + 1.5 * labels
    return labels, scores, np.arange(0, queries * rows + 1, rows)


def test_drawing_all_there_are_is_the_plain_metric() -> None:
    labels, before, offsets = ranked(60, 20)
    after = before + 0.3 * np.random.default_rng(1).standard_normal(before.shape)
    test = PairedTest(labels, before, offsets)
    for name in ("hr@5", "ndcg@5"):
        plain, drawn = (
            test.compare(parse_metric(n), after, relative=False)[0] for n in (name, f"{name}/20")
        )
        assert drawn.reference == pytest.approx(plain.reference, abs=1e-12)
        assert drawn.harm.high == pytest.approx(plain.harm.high, abs=1e-12)


def test_all_draws_at_once_say_more_than_one() -> None:
    """One draw of 19 of 300 against the mean over all: the same metric, a tighter interval."""
    labels, before, offsets = ranked(400, 301)
    after = before + 0.1 * np.random.default_rng(1).standard_normal(before.shape)
    one = np.flatnonzero(np.arange(len(labels)) % 301 < 20)
    drawn = PairedTest(labels[one], before[one], np.arange(0, 400 * 20 + 1, 20))
    alone = drawn.compare(parse_metric("hr@5"), after[one], relative=False)[0]
    test = PairedTest(labels, before, offsets)
    metric = parse_metric("hr@5/20")
    every = test.compare(metric, after, relative=False)[0]
    assert alone.reference == pytest.approx(every.reference, abs=0.05)
    assert every.harm.high - every.harm.low < 0.7 * (alone.harm.high - alone.harm.low)
    assert metric.most is not None
    most = metric.most(before[:, 0], after[:, 0], offsets)
    lost = test.compare(metric, after, relative=False, most=[most])[0]
    assert 0.01 < most < 0.6 and lost.harm.high < 0.9 * every.harm.high


def test_the_largest_loss_is_over_every_row_that_may_be_the_positive_one() -> None:
    metric = parse_metric("hr@1/2")
    assert metric.most is not None
    before, after = np.array([3.0, 2, 1, 0]), np.array([3.0, 0.5, 1, 2])
    # Row 1 was above two of the three others, and is above none.
    assert metric.most(before, after, np.array([0, 4])) == pytest.approx(2 / 3)
    assert metric.most(before, before, np.array([0, 4])) == 0


def test_what_cannot_be_drawn_is_refused() -> None:
    labels, before, offsets = ranked(40, 8)
    test = PairedTest(labels, before, offsets)
    with pytest.raises(Unprovable, match=r"at least 9 rows, got 8 - at query 0"):
        test.compare(parse_metric("hr@5/9"), before, relative=False)
    for name in ("hr@5/5", "ndcg@10/2"):
        with pytest.raises(ConfigError, match="rows drawn for"):
            parse_metric(name)
    labels[1] = 1
    with pytest.raises(Unprovable, match=r"one positive row in each .* got 2 - at query 0"):
        PairedTest(labels, before, offsets).compare(parse_metric("hr@2/5"), before, relative=False)
    with pytest.raises(Unprovable, match="got 0"):
        PairedTest(labels * 0, before, offsets).compare(
            parse_metric("hr@2/5"), before, relative=False
        )
