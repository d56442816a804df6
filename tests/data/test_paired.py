from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from recstack.data.metrics import auc, bootstrap, hit_rate, log_loss, ndcg, normalised_entropy
from recstack.data.paired import PairedTest
from recstack.data.paired_metrics import metric_of, parse_metric
from recstack.errors import ConfigError, Unprovable

ROWS = 3000


def scores(noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, reference scores, and scores a little off, (ROWS, 1) each."""
    rng = np.random.default_rng(seed)
    logit = rng.standard_normal(ROWS)
    labels = rng.random(ROWS) < 1 / (1 + np.exp(-logit))
    off = logit + noise * rng.standard_normal(ROWS)
    return tuple(np.asarray(a, np.float64)[:, None] for a in (labels, sig(logit), sig(off)))


def sig(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


ONE_EACH = np.arange(ROWS + 1)
GROUPS = np.random.default_rng(1).integers(0, 60, ROWS)


@pytest.mark.parametrize("groups", [None, GROUPS], ids=["rows", "groups"])
@pytest.mark.parametrize(("name", "slow"), [("auc", auc), ("logloss", log_loss)])
def test_the_interval_is_that_of_resampling_one_by_one(name, slow, groups) -> None:
    labels, before, after = scores(0.05)
    test = PairedTest(labels, before, ONE_EACH, groups, resamples=4000)
    found = test.compare(parse_metric(name), after, relative=False)[0]
    twin = bootstrap(
        slow, labels[:, 0], after[:, 0], baseline=before[:, 0], groups=groups, resamples=800
    )
    sign = -1 if name == "auc" else 1
    ends = sorted((sign * twin.low, sign * twin.high))
    assert found.harm.value == pytest.approx(sign * twin.value, abs=1e-12)
    width = ends[1] - ends[0]
    assert found.harm.low == pytest.approx(ends[0], abs=0.12 * width)
    assert found.harm.high == pytest.approx(ends[1], abs=0.12 * width)


@pytest.mark.parametrize(
    ("name", "slow"),
    [("ne", normalised_entropy), ("logloss", log_loss), ("auc", auc)],
)
def test_values_are_the_metrics_own(name, slow) -> None:
    labels, before, after = scores(0.5)
    test = PairedTest(labels, before, ONE_EACH, resamples=10)
    found = test.compare(parse_metric(name), after, relative=True)[0]
    first, second = (slow(labels[:, 0], s[:, 0]) for s in (before, after))
    assert found.reference == pytest.approx(first, rel=1e-12)
    assert found.candidate == pytest.approx(second, rel=1e-12)
    sign = -1 if name == "auc" else 1
    assert found.harm.value == pytest.approx(sign * (second - first) / first, rel=1e-9)


def test_relative_change_of_ne_is_that_of_log_loss() -> None:
    labels, before, after = scores(0.3)
    test = PairedTest(labels, before, ONE_EACH)
    ne, loss = (
        test.compare(parse_metric(m), after, relative=True)[0].harm for m in ("ne", "logloss")
    )
    assert (ne.value, ne.low, ne.high) == pytest.approx((loss.value, loss.low, loss.high))


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """The mean of a known distribution, 40 groups of 25 rows that move together, 300 data sets."""
    rng = np.random.default_rng(5)
    group = np.repeat(np.arange(40), 25)
    metric = metric_of(lambda _, s: s, "mean")
    held = 0
    for seed in range(300):
        shift = rng.standard_normal(40)[group] + rng.standard_normal(1000)
        test = PairedTest(
            np.zeros((1000, 1)), np.zeros((1000, 1)), np.arange(1001), group,
            resamples=500, seed=seed,
        )  # fmt: skip
        harm = test.compare(metric, shift[:, None], relative=False, level=0.9)[0].harm
        held += harm.low <= 0 <= harm.high
    assert 0.84 < held / 300 < 0.95


def test_many_groups_gathered_in_blocks_give_the_same_interval() -> None:
    rng = np.random.default_rng(0)
    rows = 20_000
    labels, before = np.zeros((rows, 1)), np.zeros((rows, 1))
    shift = rng.exponential(1.0, (rows, 1))
    test = PairedTest(labels, before, np.arange(rows + 1), resamples=4000)
    found = test.compare(metric_of(lambda _, s: s, "mean"), shift, relative=False)[0]
    assert found.groups == rows
    assert found.harm.high - found.harm.low == pytest.approx(3.92 / rows**0.5, rel=0.06)


def test_equal_scores_do_no_harm_and_seeds_fix_the_rest() -> None:
    labels, before, after = scores(0.1)
    for name in ("ne", "logloss", "auc"):
        test = PairedTest(labels, before, ONE_EACH, GROUPS, seed=7)
        same = test.compare(parse_metric(name), before, relative=True)[0].harm
        assert (same.low, same.value, same.high) == (0, 0, 0)
        again = PairedTest(labels, before, ONE_EACH, GROUPS, seed=7)
        metric = parse_metric(name)
        assert test.compare(metric, after, relative=True) == again.compare(
            metric, after, relative=True
        )


def test_tasks_are_judged_apart_and_unknown_labels_left_out() -> None:
    labels, before, after = scores(0.2)
    both = np.concatenate([labels, labels], axis=1)
    both[::2, 1] = np.nan
    test = PairedTest(both, np.repeat(before, 2, 1), ONE_EACH, GROUPS)
    first, second = test.compare(parse_metric("auc"), np.repeat(after, 2, 1), relative=False)
    assert (first.rows, second.rows) == (ROWS, ROWS // 2)
    assert second.candidate == pytest.approx(auc(labels[1::2, 0], after[1::2, 0]), rel=1e-12)


def test_ranking_metrics_against_scikit_learn_and_by_hand() -> None:
    rng = np.random.default_rng(2)
    sizes = rng.integers(11, 40, 50)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    found, labels = rng.standard_normal(offsets[-1]), rng.random(offsets[-1]) < 0.1
    parts = [slice(a, b) for a, b in itertools.pairwise(offsets)]
    with_positive = [p for p in parts if labels[p].any()]
    by_query = [ndcg_score(labels[None, p], found[None, p], k=10) for p in with_positive]
    assert ndcg(labels, found, offsets, 10) == pytest.approx(np.mean(by_query), rel=1e-12)
    hits = [labels[p][np.argsort(-found[p])[:10]].any() for p in with_positive]
    assert hit_rate(labels, found, offsets, 10) == np.mean(hits)
    assert len(with_positive) < len(parts)


def test_ties_never_help() -> None:
    labels, offsets = np.array([1, 0, 0]), np.array([0, 3])
    assert hit_rate(labels, np.zeros(3), offsets, k=2) == 0
    assert hit_rate(labels, np.zeros(3), offsets, k=3) == 1


def test_ranking_is_compared_by_query_and_drawn_by_group() -> None:
    rng = np.random.default_rng(3)
    offsets = np.arange(0, 2001, 20)
    labels = (np.arange(2000) % 20 == 0).astype(float)[:, None]
    before = rng.standard_normal((2000, 1)) + labels
    after = before + 0.3 * rng.standard_normal((2000, 1))
    found = PairedTest(labels, before, offsets).compare(
        parse_metric("hr@5"), after, relative=False
    )[0]
    assert found.groups == 100
    assert found.reference == hit_rate(labels[:, 0], before[:, 0], offsets, 5)
    assert found.harm.low < found.harm.value < found.harm.high


def test_no_change_seen_does_not_mean_that_there_is_none() -> None:
    """1,000 queries whose best ten stay the same: up to 3 of 1,000 may change (rule of three)."""
    rng = np.random.default_rng(4)
    offsets = np.arange(0, 20_001, 20)
    labels = (np.arange(20_000) % 20 == 0).astype(float)[:, None]
    before = rng.standard_normal((20_000, 1))
    test = PairedTest(labels, before, offsets)
    same, moved = (
        test.compare(parse_metric("hr@10"), s, relative=False, level=0.9)[0].harm
        for s in (before, 2 * before)
    )
    assert (same.low, same.high) == (0, 0)
    assert moved.value == 0
    assert (moved.low, moved.high) == pytest.approx((-3e-3, 3e-3), rel=0.02)


def right(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    return (scores > 0.5) == labels


right.higher_is_better = True


@pytest.mark.parametrize(
    ("metric", "reach"), [(parse_metric("ndcg@5"), 3.0), (metric_of(right, "right"), 3.0)]
)
def test_metrics_of_few_changes_claim_no_certainty_either(metric, reach: float) -> None:
    """No change among 500 queries of 20 rows: up to 3 of 500 may change, and all their rows."""
    rng = np.random.default_rng(4)
    labels = (np.arange(10_000) % 20 == 0).astype(float)[:, None]
    before = 0.2 + 0.6 * rng.random((10_000, 1))
    test = PairedTest(labels, before, np.arange(0, 10_001, 20))
    moved = 0.5 + (before - 0.5) * (1 + 1e-9)
    same, found = (test.compare(metric, s, relative=False, level=0.9)[0] for s in (before, moved))
    assert (same.harm.low, same.harm.high, same.identical) == (0, 0, True)
    assert (found.harm.value, found.identical) == (0, False)
    assert found.harm.high == pytest.approx(reach / 500, rel=0.05)
    assert found.harm.low == pytest.approx(-reach / 500, rel=0.05)


def test_a_smooth_loss_is_resampled_as_it_is_though_some_rows_round_to_no_change() -> None:
    def square(y: np.ndarray, s: np.ndarray) -> np.ndarray:
        return (y - s) ** 2

    labels, before, after = scores(0.05)
    labels[:5], before[:5], after[:5] = 1, 1e-20, 2e-20  # 1 - 1e-20 is 1
    test = PairedTest(labels, before, ONE_EACH)
    found = test.compare(metric_of(square, "square"), after, relative=False)[0].harm
    change = square(labels, after) - square(labels, before)
    assert found.high - found.low == pytest.approx(3.92 * change.std() / ROWS**0.5, rel=0.05)


def test_a_whole_group_may_change_unseen() -> None:
    rng = np.random.default_rng(4)
    labels = (np.arange(20_000) % 20 == 0).astype(float)[:, None]
    before = rng.standard_normal((20_000, 1))
    test = PairedTest(labels, before, np.arange(0, 20_001, 20), np.arange(1000) // 10)
    found = test.compare(parse_metric("hr@10"), 2 * before, relative=False, level=0.9)[0]
    assert found.groups == 100
    assert found.harm.high == pytest.approx(3e-2, rel=0.05)


@pytest.mark.parametrize("chance", [0.005, 0.02, 0.05])
def test_the_bad_end_is_past_the_truth_as_often_as_it_says_also_of_rare_changes(
    chance: float,
) -> None:
    """60 groups of 5 rows; a group goes wrong, all of it, with a chance; 400 data sets."""
    rng = np.random.default_rng(7)
    group = np.repeat(np.arange(60), 5)
    labels, before = np.ones((300, 1)), np.where(rng.random((300, 1)) < 0.9, 0.8, 0.2)
    truth = chance * (before > 0.5).mean()
    held = 0
    for seed in range(400):
        wrong = (rng.random(60) < chance)[group][:, None]
        after = np.where(wrong, 0.1, before + 1e-6)
        test = PairedTest(labels, before, np.arange(301), group, resamples=500, seed=seed)
        found = test.compare(metric_of(right, "right"), after, relative=False, level=0.95)[0]
        held += found.harm.high >= truth
    assert held / 400 > 0.96  # 0.975 but for chance; 1 - (1 - chance) ** 60 by resampling alone


def clusters(lost: np.ndarray, draws: int = 10) -> tuple[PairedTest, np.ndarray]:
    """Users with 10 draws of two rows each; `lost` (users,) is the share that goes wrong."""
    labels = np.tile([1.0, 0.0], lost.size * draws)[:, None]
    before = np.tile([0.8, 0.2], lost.size * draws)[:, None]
    after = before + np.linspace(0, 1e-6, len(before))[:, None]
    wrong = np.arange(draws)[None, :] < np.rint(lost * draws)[:, None]
    after[::2][wrong.reshape(-1)] = 0.1
    offsets = np.arange(0, len(before) + 1, 2)
    user = np.repeat(np.arange(lost.size), draws)
    return PairedTest(labels, before, offsets, user, resamples=600, seed=1), after


LOSSES = {
    "all or nothing": np.array([1.0]),
    "half": np.array([0.5]),
    "little or all": np.array([0.1, 0.1, 0.1, 1.0]),
    "any share": np.arange(1, 11) / 10,
}


@pytest.mark.parametrize("losses", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("chance", [0.05, 0.15])
def test_the_bad_end_holds_for_users_of_many_draws_who_lose_a_share_of_them(
    losses: np.ndarray, chance: float
) -> None:
    """60 users; one loses with a chance. At 3 / 60, of all or nothing, counts drawn with
    replacement held in 95.7% of 600 data sets, where the end of a 95% interval should in 97.5%.
    """
    rng = np.random.default_rng(8)
    metric, held = parse_metric("hr@1"), 0
    for _ in range(400):
        test, after = clusters(rng.choice(losses, 60) * (rng.random(60) < chance))
        found = test.compare(metric, after, relative=False, level=0.95)[0]
        held += found.harm.high >= chance * losses.mean()
    assert held / 400 >= 0.965  # two standard errors below


@pytest.mark.parametrize(("most", "least", "greatest"), [(0.3, 0.965, 1.0), (0.1, 0.0, 0.9)])
def test_a_known_largest_loss_keeps_the_rate_and_one_too_small_does_not(
    most: float, least: float, greatest: float
) -> None:
    """60 users who lose 0.3 with a chance just past what none seen among 60 leaves possible."""
    rng = np.random.default_rng(9)
    metric, held, widest = parse_metric("hr@1"), 0, 0.0
    for _ in range(400):
        test, after = clusters(0.3 * (rng.random(60) < 0.03))
        found = test.compare(metric, after, relative=False, level=0.95, most=[most])[0]
        held += found.harm.high >= 0.03 * 0.3
        widest = max(widest, found.harm.high)
    assert least <= held / 400 <= greatest
    assert widest < 0.08  # 1 as the largest loss gives 0.06 where none is seen at all


def test_auc_of_unchanged_order_is_as_certain_as_the_moves_are_small() -> None:
    rng = np.random.default_rng(6)
    labels = (rng.random((400, 1)) < 0.5).astype(float)
    before = np.linspace(0, 1, 400)[:, None] + 0.2 * labels
    off = rng.uniform(-0.5, 0.5, (400, 1))
    test = PairedTest(labels, before, np.arange(401))
    metric, highs = parse_metric("auc"), []
    for reach in (1e-6, 1e-2, 0.3):
        at = before + reach * off
        order = np.argsort(np.argsort(before[:, 0]))
        after = np.sort(at[:, 0])[order][:, None]  # moved, and no pair turned
        found = test.compare(metric, after, relative=False)[0]
        assert found.harm.value == 0 and not found.identical
        highs.append(found.harm.high)
    assert 0 < highs[0] < highs[1] < highs[2]
    assert highs[0] == pytest.approx(3 / 200 / 200, rel=0.5)
    assert test.compare(metric, before, relative=False)[0].harm.high == 0


def test_the_bad_end_of_the_candidate_is_that_of_its_own_interval() -> None:
    labels, before, after = scores(0.05)
    test = PairedTest(labels, before, ONE_EACH, GROUPS, resamples=4000)
    for name, slow in (("auc", auc), ("logloss", log_loss)):
        found = test.compare(parse_metric(name), after, relative=False)[0]
        twin = bootstrap(slow, labels[:, 0], after[:, 0], groups=GROUPS, resamples=800)
        wanted = twin.low if name == "auc" else twin.high
        assert found.worst == pytest.approx(wanted, abs=0.08 * (twin.high - twin.low))


def test_scores_that_are_not_finite_are_infinitely_worse() -> None:
    labels, before, after = scores(0.05)
    labels[1] = np.nan
    test = PairedTest(labels, before, ONE_EACH, resamples=10)
    for at, finite in ((0, False), (1, True)):
        broken = after.copy()
        broken[at] = np.nan
        for name in ("ne", "logloss", "auc"):
            found = test.compare(parse_metric(name), broken, relative=True)[0]
            assert np.isfinite(found.candidate) == finite
            assert (found.harm.low == np.inf) != finite
    with pytest.raises(ConfigError, match="finite scores to compare with, got inf - at row 0"):
        PairedTest(labels, np.where(np.arange(ROWS)[:, None] == 0, np.inf, before), ONE_EACH)


@pytest.mark.parametrize("name", ["auc", "ne"])
def test_resamples_of_one_class_are_left_out(name: str) -> None:
    labels, before = np.array([[0.0], [1.0]]), np.array([[0.2], [0.7]])
    test = PairedTest(labels, before, np.arange(3), resamples=100)
    found = test.compare(parse_metric(name), before + 0.1, relative=True)[0]
    assert np.isfinite([found.harm.low, found.harm.high, found.worst]).all()


def test_metrics_that_scores_cannot_change_are_refused() -> None:
    labels, before, after = scores(0.05)
    one_class = PairedTest(labels * 0, before, ONE_EACH, resamples=10)
    for name in ("ne", "auc"):
        with pytest.raises(Unprovable, match="expected both classes in labels, got 0 ones"):
            one_class.compare(parse_metric(name), after, relative=True)
    perfect = metric_of(lambda y, s: np.zeros_like(y), "perfect")
    with pytest.raises(Unprovable, match=r"expected perfect to differ between rows, got 0\.0"):
        one_class.compare(perfect, after, relative=False)
    tens = PairedTest(labels, before, np.arange(0, ROWS + 1, 10), resamples=10)
    with pytest.raises(ConfigError, match=r"more than 10 rows for hr@10.* at most 10"):
        tens.compare(parse_metric("hr@10"), after, relative=False)
    tens.compare(parse_metric("ndcg@10"), after, relative=False)
    with pytest.raises(ConfigError, match=r"more than 1 rows for ndcg@10.* at most 1"):
        PairedTest(labels, before, ONE_EACH, resamples=10).compare(
            parse_metric("ndcg@10"), after, relative=False
        )


def test_queries_without_a_positive_row_are_no_groups_of_a_ranking() -> None:
    labels, before, after = scores(0.05)
    labels[100:] = 0
    test = PairedTest(labels, before, np.arange(0, ROWS + 1, 20), resamples=10)
    found = {n: test.compare(parse_metric(n), after, relative=False)[0] for n in ("hr@5", "auc")}
    assert (found["hr@5"].groups, found["auc"].groups) == (5, ROWS // 20)


def test_what_does_not_fit_is_refused() -> None:
    labels, before, after = scores(0.1)
    test = PairedTest(labels, before, ONE_EACH, resamples=10)
    for name in ("hr@0", "AUC", "ndcg"):
        with pytest.raises(ConfigError, match="expected a metric"):
            parse_metric(name)
    with pytest.raises(ConfigError, match="expected scores"):
        test.compare(parse_metric("ne"), after[:5], relative=True)
    with pytest.raises(ConfigError, match=r"in \[0, 1\]"):
        test.compare(parse_metric("ne"), 7 * after, relative=True)
    with pytest.raises(ConfigError, match="one per row"):
        test.compare(metric_of(lambda y, s: s.mean(), "mine"), after, relative=True)
    with pytest.raises(ConfigError, match="labels for task 0"):
        PairedTest(labels * np.nan, before, ONE_EACH).compare(
            parse_metric("ne"), after, relative=True
        )
    with pytest.raises(ConfigError, match="expected labels and scores"):
        PairedTest(labels, before[1:], ONE_EACH)
