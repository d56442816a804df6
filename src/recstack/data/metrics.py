"""Quality of scores against 0/1 labels, with bootstrap intervals (paired: `data.paired`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recstack.errors import ConfigError

Array = NDArray[Any]
Metric = Callable[[Array, Array], float]


@dataclass(frozen=True, slots=True)
class Interval:
    """A metric on all rows, and the percentile bootstrap interval around it."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


def auc(labels: Array, scores: Array) -> float:
    """Area under the ROC curve: the chance that a positive row scores above a negative one.

    labels: (rows,) 0 or 1, or bool. scores: (rows,) finite, any monotone scale. Ties count one
    half, through average ranks. Raises ConfigError unless both classes are present. Source: Hanley
    and McNeil, Radiology 143(1), 1982 (the Mann-Whitney form).

    >>> auc(np.array([0, 1, 0, 1]), np.array([0.1, 0.4, 0.4, 0.8]))
    0.875
    """
    positive = _checked(labels, scores)
    n_pos = int(np.count_nonzero(positive))
    n_neg = len(positive) - n_pos
    if not n_pos or not n_neg:
        raise ConfigError(f"expected both classes in labels, got {n_pos} ones of {len(positive)}")
    _, group, size = np.unique(scores, return_inverse=True, return_counts=True)
    rank = (np.cumsum(size) - (size - 1) / 2)[group]
    return float((rank[positive].sum() - n_pos * (n_pos + 1) / 2) / (n_pos * n_neg))


def log_loss(labels: Array, probabilities: Array) -> float:
    """Mean negative log likelihood in nats.

    labels: (rows,) 0 or 1, or bool. probabilities: (rows,) of label 1; clipped away from 0 and 1 by
    the epsilon of float64. Raises ConfigError on a probability outside [0, 1] and on no rows.

    >>> round(log_loss(np.array([1, 0]), np.array([0.5, 0.75])), 4)
    1.0397
    """
    return float(row_losses(labels, probabilities).mean())


def row_losses(labels: Array, probabilities: Array) -> NDArray[np.float64]:
    """Each row's negative log likelihood in nats, (rows,); arguments and errors of `log_loss`."""
    positive = _checked(labels, probabilities)
    p = np.asarray(probabilities, np.float64)
    if p.min() < 0 or p.max() > 1:
        raise ConfigError(f"expected probabilities in [0, 1], got {p.min()} .. {p.max()}")
    epsilon = np.finfo(np.float64).eps
    p = np.clip(p, epsilon, 1 - epsilon)
    losses: NDArray[np.float64] = -np.where(positive, np.log(p), np.log1p(-p))
    return losses


def normalised_entropy(labels: Array, probabilities: Array) -> float:
    """Log loss over that of always predicting the mean label; below 1 is better than that.

    Arguments and errors of `log_loss`; ConfigError also unless both classes are present. Source:
    He et al., Practical Lessons from Predicting Clicks on Ads at Facebook, ADKDD 2014, section 3.

    >>> round(normalised_entropy(np.array([1, 0]), np.array([0.5, 0.75])), 4)
    1.5
    """
    loss, rate = log_loss(labels, probabilities), float(np.mean(labels))
    if rate in (0.0, 1.0):
        raise ConfigError("expected both classes in labels, got one")
    return float(loss / entropy(np.float64(rate)))


def entropy(rate: NDArray[np.float64] | np.float64) -> NDArray[np.float64] | np.float64:
    """Entropy in nats of a yes that has this probability, strictly between 0 and 1."""
    return -(rate * np.log(rate) + (1 - rate) * np.log1p(-rate))


def query_gains(
    labels: Array, scores: Array, query_offsets: Array, k: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """HR@k and NDCG@k of every query, (Q,) each, and which queries have a positive row at all.

    labels, scores: (rows,). query_offsets: (Q + 1,), rows of query q are offsets[q] to offsets[q +
    1]. HR is 1 where a positive row is among the k best; NDCG has gain 1 for a positive row. Of
    equal scores the negative rows come first: ties never help. Source: Järvelin and Kekäläinen,
    ACM TOIS 20(4), 2002.

    >>> hit, ndcg, _ = query_gains(np.array([0, 1, 0, 1]), np.array([2., 1, 5, 5]), [0, 2, 4], k=1)
    >>> hit.tolist(), ndcg.tolist()
    ([0.0, 0.0], [0.0, 0.0])
    """
    positive = _checked(labels, scores)
    if k < 1:
        raise ConfigError(f"expected k >= 1, got {k}")
    offsets = np.asarray(query_offsets, np.int64)
    sizes = np.diff(offsets)
    if offsets[0] != 0 or offsets[-1] != len(positive) or (sizes < 0).any():
        raise ConfigError(f"expected offsets from 0 up to {len(positive)} rows, got {offsets}")
    query = np.repeat(np.arange(len(sizes)), sizes)
    order = np.lexsort((positive, -np.asarray(scores, np.float64), query))
    place = np.arange(len(order)) - np.repeat(offsets[:-1], sizes)
    counted = positive[order] & (place < k)
    discount = 1 / np.log2(np.arange(2, k + 2))
    n_pos = np.bincount(query, positive, minlength=len(sizes)).astype(np.int64)
    ideal = np.concatenate([[0.0], np.cumsum(discount)])[np.minimum(n_pos, k)]
    hits = np.bincount(query[order], counted, minlength=len(sizes)) > 0
    gain = np.where(counted, discount[np.minimum(place, k - 1)], 0.0)
    total = np.bincount(query[order], gain, minlength=len(sizes))
    known = n_pos > 0
    return hits.astype(np.float64), total / np.where(known, ideal, 1.0), known


def hit_rate(labels: Array, scores: Array, query_offsets: Array, k: int = 10) -> float:
    """HR@k: the share of queries with a positive row that have one among their k best scores.

    Arguments as `query_gains`. Raises ConfigError when no query has a positive row.
    """
    hits, _, known = query_gains(labels, scores, query_offsets, k)
    return _mean_of_known(hits, known)


def ndcg(labels: Array, scores: Array, query_offsets: Array, k: int = 10) -> float:
    """NDCG@k, the mean over queries with a positive row; arguments and errors of `hit_rate`."""
    _, gains, known = query_gains(labels, scores, query_offsets, k)
    return _mean_of_known(gains, known)


def _mean_of_known(values: NDArray[np.float64], known: NDArray[np.bool_]) -> float:
    if not known.any():
        raise ConfigError("expected a query with a positive row, got none")
    return float(values[known].mean())


def bootstrap(
    metric: Metric,
    labels: Array,
    scores: Array,
    *,
    baseline: Array | None = None,
    groups: Array | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap interval of a metric, or of its gain over a baseline on the same rows.

    labels, scores: (rows,). baseline: (rows,) scores of another model; the interval is then that of
    metric(scores) - metric(baseline), both on each resample (paired). groups: (rows,) such as user
    ids; whole groups are drawn instead of rows, as rows of one user are not independent. Raises
    what the metric raises. Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993,
    chapters 8 and 13.

    >>> y, s = np.array([0, 1] * 50), np.arange(100) % 7
    >>> found = bootstrap(auc, y, s, resamples=200)
    >>> bool(found.low < found.value < found.high)
    True
    """
    if resamples < 1 or not 0 < level < 1:
        raise ConfigError(f"expected resamples >= 1, 0 < level < 1, got {resamples}, {level}")

    def measure(rows: Array | slice) -> float:
        found = metric(labels[rows], scores[rows])
        return found if baseline is None else found - metric(labels[rows], baseline[rows])

    _checked(labels, scores)
    rng = np.random.default_rng(seed)
    _, group = np.unique(np.arange(len(labels)) if groups is None else groups, return_inverse=True)
    members = np.split(np.argsort(group, kind="stable"), np.cumsum(np.bincount(group))[:-1])
    samples = np.empty(resamples)
    for i in range(resamples):
        drawn = rng.integers(0, len(members), len(members))
        rows = drawn if groups is None else np.concatenate([members[g] for g in drawn])
        samples[i] = measure(rows)
    tail = 50 * (1 - level)
    low, high = np.percentile(samples, [tail, 100 - tail])
    return Interval(measure(slice(None)), float(low), float(high))


def _checked(labels: Array, scores: Array) -> NDArray[np.bool_]:
    """The labels as bool, after both arrays' shapes and values are checked."""
    labels, scores = np.asarray(labels), np.asarray(scores)
    if labels.ndim != 1 or labels.shape != scores.shape or not labels.size:
        raise ConfigError(
            f"expected labels and scores of one shape (rows,), got {labels.shape}, {scores.shape}"
        )
    if not np.isin(labels, (0, 1)).all():
        raise ConfigError("expected labels 0 or 1")
    if not np.isfinite(scores).all():
        raise ConfigError("expected finite scores")
    return labels.astype(np.bool_)
