"""How much worse scores are than reference scores on the same rows, with a bootstrap interval.

Every metric here is a function of sums over rows or queries (AUC: to first order), so that a
resample is a product of how often each block was drawn with the blocks' sums. Whole groups of
queries are drawn, never single rows of one: rows of one user are not independent. Two sets of
scores on the same rows differ far less than either is uncertain; the interval is of that
difference.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from recstack.data.metrics import Interval, auc, entropy, query_gains, row_losses
from recstack.errors import ConfigError

Floats = NDArray[np.float64]
RESAMPLES = 10_000
MOST_BLOCKS = 2000
_CHUNK = 500
_AT_K = re.compile(r"(hr|ndcg)@([1-9][0-9]{0,5})")


@dataclass(frozen=True, slots=True)
class Parts:
    """What a metric sums: `values` (units, sums), one unit per row or per query.

    value: sums (n, sums) -> the metric of reference and candidate, (n,) each.
    unseen: the reference's and the candidate's value of a unit that loses most, of a metric that
        few units change at all. Where 0 of n units changed, resampling them would claim
        that none ever does; one more unit with this loss, and for the other end one with this gain,
        is drawn along. The 95% interval then ends near 3 / n, as by the rule of three.
    """

    per: Literal["row", "query"]
    values: Floats
    value: Callable[[Floats], tuple[Floats, Floats]]
    unseen: tuple[float, float] | None = None


PartsOf = Callable[[Floats, Floats, Floats, NDArray[np.int64]], Parts]


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric by name: ne, logloss, auc, hr@K, ndcg@K, or a function of labels and scores.

    parts: (labels (R,), reference (R,), candidate (R,), query_offsets (Q + 1,)) -> what it sums.
    """

    name: str
    higher_is_better: bool
    parts: PartsOf


def parse_metric(text: str) -> Metric:
    """The metric of a name; ConfigError lists the names.

    >>> parse_metric("hr@10").higher_is_better
    True
    """
    if found := _AT_K.fullmatch(text):
        which, k = found[1], int(found[2])
        return Metric(text, True, lambda *a: _ranking_parts(*a, k=k, which=which))
    if text == "auc":
        return Metric(text, True, _auc_parts)
    if text in ("ne", "logloss"):
        return Metric(text, False, lambda *a: _loss_parts(*a, normalised=text == "ne"))
    raise ConfigError(
        f"expected a metric ne, logloss, auc, hr@K, ndcg@K or module:function, got {text!r}"
    )


def metric_of(function: Callable[[Any, Any], Any], name: str) -> Metric:
    """A metric of your own: the mean over rows of function(labels (R,), scores (R,)) -> (R,).

    Lower is better, unless the function has an attribute `higher_is_better` that is true.
    """

    def parts(labels: Floats, reference: Floats, candidate: Floats, _: Any) -> Parts:
        columns = [np.asarray(function(labels, s), np.float64) for s in (reference, candidate)]
        for column in columns:
            if column.shape != labels.shape or not np.isfinite(column).all():
                raise ConfigError(
                    f"expected {name} to return {labels.shape} finite numbers, one per row, got "
                    f"shape {column.shape}"
                )
        return _means("row", np.stack([*columns, np.ones_like(labels)], axis=1))

    return Metric(name, bool(getattr(function, "higher_is_better", False)), parts)


def _means(per: Literal["row", "query"], values: Floats) -> Parts:
    """Two means with one count: sums of (reference, candidate, 1)."""
    return Parts(per, values, lambda s: (s[:, 0] / s[:, 2], s[:, 1] / s[:, 2]))


def _loss_parts(
    labels: Floats, reference: Floats, candidate: Floats, _: Any, *, normalised: bool
) -> Parts:
    losses = [row_losses(labels, scores) for scores in (reference, candidate)]
    if not normalised:
        return _means("row", np.stack([*losses, np.ones_like(labels)], axis=1))
    if (ones := int(labels.sum())) in (0, labels.size):
        raise ConfigError(f"expected both classes in labels, got {ones} ones of {labels.size}")

    def value(s: Floats) -> tuple[Floats, Floats]:
        rate = s[:, 2] / s[:, 3]
        base = s[:, 3] * entropy(rate)
        return s[:, 0] / base, s[:, 1] / base

    return Parts("row", np.stack([*losses, labels, np.ones_like(labels)], axis=1), value)


def _ranking_parts(
    labels: Floats,
    reference: Floats,
    candidate: Floats,
    offsets: NDArray[np.int64],
    *,
    k: int,
    which: str,
) -> Parts:
    column = ("hr", "ndcg").index(which)
    found = [query_gains(labels, scores, offsets, k) for scores in (reference, candidate)]
    known = found[0][2]
    trivial, longest = (k if which == "hr" else 1), int(np.diff(offsets)[known].max(initial=0))
    if longest <= trivial:
        raise ConfigError(
            f"expected queries of more than {trivial} rows for {which}@{k}, which is 1 whatever "
            f"the scores otherwise; got at most {longest}"
        )
    before, after = (f[column] for f in found)
    values = np.stack([before, after, np.ones(len(known))], axis=1)
    parts = _means("query", np.asarray(values * known[:, None]))
    most = 1.0 if which == "hr" else float(np.abs(after - before)[known].max(initial=0.0))
    changed = not np.array_equal(reference, candidate)
    return replace(parts, unseen=(1.0, 1.0 - most)) if changed and most else parts


def _auc_parts(labels: Floats, reference: Floats, candidate: Floats, _: Any) -> Parts:
    """To first order in the weights: DeLong et al., Biometrics 44(3), 1988, structural components.

    A row's component is the share of the other class that it is ordered right against.
    """
    positive = labels > 0
    components, totals = [], []
    for scores in (reference, candidate):
        totals.append(auc(labels, scores))
        components.append(_placements(positive, scores))
    split = [c * kind for kind in (positive, ~positive) for c in components]
    values = np.stack([*split, positive, ~positive], axis=1).astype(np.float64)

    def value(s: Floats) -> tuple[Floats, Floats]:
        both = s[:, 0:2] / s[:, 4:5] + s[:, 2:4] / s[:, 5:6] - np.array(totals)
        return both[:, 0], both[:, 1]

    return Parts("row", values, value)


def _placements(positive: NDArray[np.bool_], scores: Floats) -> Floats:
    """(R,): of a positive row the share of negatives below it, of a negative that of positives
    above it; ties count one half.
    """
    out = np.empty(len(scores))
    for own, other, sign in ((positive, ~positive, 1), (~positive, positive, -1)):
        rest = np.sort(sign * scores[other])
        mine = sign * scores[own]
        below = np.searchsorted(rest, mine, "left") + np.searchsorted(rest, mine, "right")
        out[own] = below / (2 * len(rest))
    return out


@dataclass(frozen=True, slots=True)
class Comparison:
    """A metric of reference and candidate on the same rows.

    harm: how much worse the candidate is, with its interval; below 0 it is better. With `relative`
    it is a share of the reference's value, else in the metric's own unit. level: of the interval,
    two-sided. groups: how many independent groups there were of queries that count.
    """

    metric: str
    higher_is_better: bool
    task: int
    reference: float
    candidate: float
    harm: Interval
    relative: bool
    level: float
    rows: int
    groups: int


class PairedTest:
    """Compares scores with reference scores on fixed rows; the same resamples every time.

    labels, reference: (R, tasks), NaN labels left out. query_offsets: (Q + 1,) int32. groups: (Q,),
    queries of one group are drawn together; None: each on its own. Over 2,000 groups are gathered
    at random into as many blocks, which are drawn: their sums are independent and alike, too.
    Raises ConfigError for shapes that do not fit and when a task has no label.
    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 8 and 13.
    """

    def __init__(
        self,
        labels: NDArray[Any],
        reference: NDArray[Any],
        query_offsets: NDArray[Any],
        groups: NDArray[Any] | None = None,
        *,
        resamples: int = RESAMPLES,
        seed: int = 0,
    ) -> None:
        self.labels = np.asarray(labels, np.float64)
        self.reference = np.asarray(reference, np.float64)
        self._offsets = np.asarray(query_offsets, np.int64)
        rows, queries = int(self._offsets[-1]), len(self._offsets) - 1
        if self.labels.shape != self.reference.shape or self.labels.shape[:1] != (rows,):
            raise ConfigError(
                f"expected labels and scores ({rows}, tasks), got {self.labels.shape} and "
                f"{self.reference.shape}"
            )
        self._query = np.repeat(np.arange(queries), np.diff(self._offsets))
        rng = np.random.default_rng(seed)
        _, group = np.unique(np.arange(queries) if groups is None else groups, return_inverse=True)
        self.groups = int(group.max(initial=-1)) + 1
        self._blocks = min(self.groups, MOST_BLOCKS)
        # Shares of equal size: each block gets as many groups as any other, give or take one.
        block_of = rng.permutation(np.arange(self.groups) % max(self._blocks, 1))
        self._group, self._block = group, block_of[group]
        self._drawn = _draw(rng, self._blocks, resamples)
        # How often one unit more is drawn: all but Poisson(1), whatever the number of units.
        self._extra = [rng.poisson(1.0, len(part)).astype(np.float64) for part in self._drawn]

    @property
    def tasks(self) -> int:
        """Columns of labels and scores."""
        return int(self.labels.shape[1])

    def compare(
        self, metric: Metric, candidate: NDArray[Any], *, relative: bool, level: float = 0.95
    ) -> list[Comparison]:
        """How much worse (R, tasks) candidate scores are, for each task."""
        scores = np.asarray(candidate, np.float64)
        if scores.shape != self.labels.shape:
            raise ConfigError(f"expected scores {self.labels.shape}, got {scores.shape}")
        return [
            self._compare(metric, scores[:, task], task, relative, level)
            for task in range(self.tasks)
        ]

    def _compare(
        self, metric: Metric, scores: Floats, task: int, relative: bool, level: float
    ) -> Comparison:
        known = ~np.isnan(self.labels[:, task])
        if not known.any():
            raise ConfigError(f"expected labels for task {task}, got none")
        query = self._query[known]
        sizes = np.bincount(query, minlength=len(self._block))
        parts = metric.parts(
            self.labels[known, task],
            self.reference[known, task],
            scores[known],
            np.concatenate([[0], np.cumsum(sizes)]),
        )
        at = query if parts.per == "row" else np.arange(len(self._block))
        block, counted = self._block[at], self._group[at][parts.values.any(axis=1)]
        sums = np.stack(
            [np.bincount(block, c, minlength=self._blocks) for c in parts.values.T], axis=1
        ).astype(np.float64)

        def harm(at: Floats) -> Floats:
            with np.errstate(divide="ignore", invalid="ignore"):
                before, after = parts.value(at)
                worse = before - after if metric.higher_is_better else after - before
                return worse / np.abs(before) if relative else worse

        whole = sums.sum(axis=0, keepdims=True)
        before, after = (float(v[0]) for v in parts.value(whole))
        tail = 50 * (1 - level)
        low, high = (
            self._end(harm, sums, unseen, share)
            for unseen, share in zip(_unseen(parts), (tail, 100 - tail), strict=True)
        )
        interval = Interval(float(harm(whole)[0]), low, high)
        rows, groups = int(known.sum()), len(np.unique(counted))
        return Comparison(
            metric.name,
            metric.higher_is_better,
            task,
            before,
            after,
            interval,
            relative,
            level,
            rows,
            groups,
        )

    def _end(
        self, harm: Callable[[Floats], Floats], sums: Floats, unseen: Floats, share: float
    ) -> float:
        """The percentile `share` of the harm over all resamples, each with its unseen units."""
        harms = np.concatenate(
            [
                harm(part.astype(np.float64) @ sums + extra[:, None] * unseen)
                for part, extra in zip(self._drawn, self._extra, strict=True)
            ]
        )
        harms = harms[np.isfinite(harms)]  # a resample of one class alone has no such metric
        return float(np.percentile(harms, share)) if harms.size else (-np.inf, np.inf)[share > 50]


def _unseen(parts: Parts) -> tuple[Floats, Floats]:
    """Sums of the unit that is drawn along for the low end, and for the high end."""
    none = np.zeros(parts.values.shape[1])
    if parts.unseen is None:
        return none, none
    before, after = parts.unseen
    return np.array([after, before, 1.0]), np.array([before, after, 1.0])


def _draw(rng: np.random.Generator, blocks: int, resamples: int) -> list[NDArray[np.uint16]]:
    """How often each block is drawn when `blocks` are, with replacement: (n, blocks) each."""
    parts = []
    for at in range(0, resamples, _CHUNK):
        n = min(_CHUNK, resamples - at)
        flat = rng.integers(0, blocks, (n, blocks)) + np.arange(n)[:, None] * blocks
        counts = np.bincount(flat.ravel(), minlength=n * blocks).reshape(n, blocks)
        parts.append(counts.astype(np.uint16))
    return parts
