import numpy as np
import pytest
from sklearn.metrics import log_loss as sklearn_log_loss
from sklearn.metrics import roc_auc_score

from recstack.data.metrics import Interval, auc, bootstrap, log_loss
from recstack.errors import ConfigError

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 2, 500)
SCORES = np.clip(RNG.random(500) * 0.7 + 0.3 * LABELS * RNG.random(500), 0, 1)


@pytest.mark.parametrize("decimals", [1, 2, 16])
def test_auc_equals_sklearn_with_and_without_ties(decimals):
    scores = SCORES.round(decimals)
    assert auc(LABELS, scores) == pytest.approx(roc_auc_score(LABELS, scores), abs=1e-14)


def test_log_loss_equals_sklearn():
    assert log_loss(LABELS, SCORES) == pytest.approx(sklearn_log_loss(LABELS, SCORES), abs=1e-14)


@pytest.mark.parametrize(
    ("labels", "scores", "wanted"),
    [([0, 1], [0.1, 0.9], 1.0), ([1, 0], [0.1, 0.9], 0.0), ([0, 1, 1], [5, 5, 5], 0.5)],
)
def test_auc_of_perfect_reversed_and_constant_scores(labels, scores, wanted):
    assert auc(np.array(labels), np.array(scores)) == wanted


def test_log_loss_of_a_certain_mistake_is_finite():
    assert 30 < log_loss(np.array([1]), np.array([0.0])) < 40


@pytest.mark.parametrize("metric", [auc, log_loss])
@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([0, 1], [0.5], "one shape"),
        ([], [], "one shape"),
        ([0, 2], [0.5, 0.5], "labels 0 or 1"),
        ([0, 1], [0.5, np.nan], "finite"),
    ],
)
def test_bad_input_is_refused(metric, labels, scores, message):
    with pytest.raises(ConfigError, match=message):
        metric(np.array(labels), np.array(scores))


def test_one_class_has_no_auc_and_probabilities_end_at_one():
    with pytest.raises(ConfigError, match="both classes"):
        auc(np.ones(3), np.ones(3))
    with pytest.raises(ConfigError, match=r"in \[0, 1\]"):
        log_loss(np.array([0, 1]), np.array([0.5, 1.5]))


def test_bootstrap_is_seeded_and_brackets_the_value():
    first, again = (bootstrap(auc, LABELS, SCORES, resamples=200, seed=3) for _ in range(2))
    assert first == again
    assert first.low < first.value == auc(LABELS, SCORES) < first.high
    assert str(Interval(0.5, 0.25, 0.75)) == "0.5000 [0.2500, 0.7500]"


def test_bootstrap_width_matches_the_standard_error_of_a_mean():
    def mean(labels, scores):
        return float(scores.mean())

    found = bootstrap(mean, LABELS, SCORES, resamples=4000)
    wanted = 2 * 1.96 * SCORES.std() / np.sqrt(len(SCORES))
    assert found.high - found.low == pytest.approx(wanted, rel=0.08)


def test_a_model_gains_nothing_over_itself():
    found = bootstrap(auc, LABELS, SCORES, baseline=SCORES, resamples=50)
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)


def test_paired_gain_is_narrower_than_either_interval():
    worse = np.clip(SCORES + RNG.normal(0, 0.05, len(SCORES)), 0, 1)
    gain = bootstrap(auc, LABELS, SCORES, baseline=worse, resamples=300)
    alone = bootstrap(auc, LABELS, SCORES, resamples=300)
    assert gain.high - gain.low < alone.high - alone.low


def test_groups_of_equal_rows_widen_the_interval():
    labels, scores, groups = (np.repeat(a, 5) for a in (LABELS, SCORES, np.arange(500)))
    rows = bootstrap(auc, labels, scores, resamples=300)
    whole = bootstrap(auc, labels, scores, groups=groups, resamples=300)
    assert (whole.high - whole.low) / (rows.high - rows.low) == pytest.approx(5**0.5, rel=0.2)


def test_bootstrap_checks_its_settings():
    with pytest.raises(ConfigError, match="resamples"):
        bootstrap(auc, LABELS, SCORES, resamples=0)
    with pytest.raises(ConfigError, match="level"):
        bootstrap(auc, LABELS, SCORES, level=1.0)
