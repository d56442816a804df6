"""Quality of scores against 0/1 labels, with bootstrap intervals."""

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
    positive = _checked(labels, probabilities)
    p = np.asarray(probabilities, np.float64)
    if p.min() < 0 or p.max() > 1:
        raise ConfigError(f"expected probabilities in [0, 1], got {p.min()} .. {p.max()}")
    epsilon = np.finfo(np.float64).eps
    p = np.clip(p, epsilon, 1 - epsilon)
    return float(-np.where(positive, np.log(p), np.log1p(-p)).mean())


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
