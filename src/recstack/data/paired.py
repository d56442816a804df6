"""How much worse scores are than reference scores on the same rows, with a bootstrap interval.

Metrics are functions of sums over rows or queries (`recstack.data.paired_metrics`), so that a
resample is a product of the blocks' weights with the blocks' sums. Whole groups of queries are
weighed, never single rows of one: rows of one user are not independent. Two sets of scores on the
same rows differ far less than either is uncertain; the interval is of that difference.

The weights are exponential (Rubin, The Bayesian Bootstrap, Annals of Statistics 9(1), 1981). With
one group more that loses the most, the bad end of a mean of 0s and 1s is that of Clopper and
Pearson, and of other means Gaffke's bound (Phan et al., Towards Practical Mean Bounds for Small
Samples, ICML 2021); counts drawn with replacement err more often than they say there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recstack.data.metrics import Interval
from recstack.data.paired_metrics import Floats, Metric, step
from recstack.errors import ConfigError, Unprovable

RESAMPLES = 10_000
MOST_BLOCKS = 2000
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Comparison:
    """A metric of reference and candidate on the same rows.

    harm: how much worse the candidate is, with its interval; below 0 it is better. With `relative`
    it is a share of the reference's value, else in the metric's own unit. level: of the interval,
    two-sided. groups: how many independent groups there were of queries that count.
    worst: the bad end of the candidate's own interval. identical: every score is the reference's.
    Where a candidate's score is not finite, candidate and worst are NaN and the harm is infinite.
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
    worst: float
    identical: bool


class PairedTest:
    """Compares scores with reference scores on fixed rows; the same resamples every time.

    labels, reference: (R, tasks), NaN labels left out. query_offsets: (Q + 1,) int32. groups: (Q,),
    queries of one group are weighed together; None: each on its own. Over 2,000 groups are gathered
    at random into as many blocks, which are weighed: their sums are independent and alike, too.
    Raises ConfigError for shapes that do not fit and for a reference that is not finite, Unprovable
    when a task has no label.
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
        broken = ~np.isfinite(self.reference) & ~np.isnan(self.labels)
        if broken.any():
            row, task = (int(i) for i in np.argwhere(broken)[0])
            raise ConfigError(
                f"expected finite scores to compare with, got {self.reference[row, task]} - at row "
                f"{row}, task {task}"
            )
        self._query = np.repeat(np.arange(queries), np.diff(self._offsets))
        rng = np.random.default_rng(seed)
        _, group = np.unique(np.arange(queries) if groups is None else groups, return_inverse=True)
        self.groups = int(group.max(initial=-1)) + 1
        self._blocks = min(self.groups, MOST_BLOCKS)
        # Shares of equal size: each block gets as many groups as any other, give or take one.
        block_of = rng.permutation(np.arange(self.groups) % max(self._blocks, 1))
        self._group, self._block = group, block_of[group]
        self._drawn = _weights(rng, self._blocks, resamples)
        self._extra = [rng.standard_exponential(len(part)) for part in self._drawn]

    @property
    def tasks(self) -> int:
        """Columns of labels and scores."""
        return int(self.labels.shape[1])

    def compare(
        self,
        metric: Metric,
        candidate: NDArray[Any],
        *,
        relative: bool,
        level: float = 0.95,
        most: Sequence[float] | None = None,
    ) -> list[Comparison]:
        """How much worse (R, tasks) candidate scores are, for each task.

        most: what no query can lose more than, per task, where that is known; else the metric says.
        """
        scores = np.asarray(candidate, np.float64)
        if scores.shape != self.labels.shape:
            raise ConfigError(f"expected scores {self.labels.shape}, got {scores.shape}")
        return [
            self._compare(
                metric, scores[:, task], task, relative, level, None if most is None else most[task]
            )
            for task in range(self.tasks)
        ]

    def _compare(
        self,
        metric: Metric,
        scores: Floats,
        task: int,
        relative: bool,
        level: float,
        most: float | None = None,
    ) -> Comparison:
        known = ~np.isnan(self.labels[:, task])
        if not known.any():
            raise Unprovable(f"expected labels for task {task}, got none")
        if not np.isfinite(scores[known]).all():
            same = self._compare(metric, self.reference[:, task], task, relative, level)
            none = Interval(np.inf, np.inf, np.inf)
            return replace(same, candidate=np.nan, worst=np.nan, harm=none, identical=False)
        query = self._query[known]
        sizes = np.bincount(query, minlength=len(self._block))
        parts = metric.parts(
            self.labels[known, task],
            self.reference[known, task],
            scores[known],
            np.concatenate([[0], np.cumsum(sizes)]),
        )
        if most is not None:
            parts = replace(parts, unseen=step(most, 0.0))
        at = query if parts.per == "row" else np.arange(len(self._block))
        counts = parts.values.any(axis=1)
        groups = len(np.unique(self._group[at][counts]))
        sums = np.stack(
            [np.bincount(self._block[at], c, minlength=self._blocks) for c in parts.values.T],
            axis=1,
        ).astype(np.float64)

        def values(at: Floats) -> tuple[Floats, Floats, Floats]:
            """Of reference and candidate, and the harm; not finite where `at` has one class."""
            with np.errstate(divide="ignore", invalid="ignore"):
                before, after = parts.value(at)
                worse = before - after if metric.higher_is_better else after - before
                return before, after, worse / np.abs(before) if relative else worse

        before, after, harm = (float(v[0]) for v in values(sums.sum(axis=0, keepdims=True)))
        tail = 50 * (1 - level)
        gains, loses = (
            self._resampled(sums, unseen) for unseen in parts.unseen_sums(counts.sum() / groups)
        )
        _, _, least = values(gains)
        _, afters, worst = values(loses)
        return Comparison(
            metric.name,
            metric.higher_is_better,
            task,
            before,
            after,
            Interval(harm, _end(least, tail), _end(worst, 100 - tail)),
            relative,
            level,
            int(known.sum()),
            groups,
            _end(afters, tail if metric.higher_is_better else 100 - tail),
            np.array_equal(self.reference[:, task], scores, equal_nan=True),
        )

    def _resampled(self, sums: Floats, unseen: Floats) -> Floats:
        """The sums of every resample, (n, sums), each with its unseen units."""
        return np.concatenate(
            [
                part.astype(np.float64) @ sums + extra[:, None] * unseen
                for part, extra in zip(self._drawn, self._extra, strict=True)
            ]
        )


def _end(values: Floats, share: float) -> float:
    """The percentile `share`; where no resample has a value, as of one class, infinite."""
    values = values[np.isfinite(values)]
    return float(np.percentile(values, share)) if values.size else (-np.inf, np.inf)[share > 50]


def _weights(rng: np.random.Generator, blocks: int, resamples: int) -> list[NDArray[np.float32]]:
    """Exponential weights of mean 1, (n, blocks) each, n summing to `resamples`."""
    sizes = [min(_CHUNK, resamples - at) for at in range(0, resamples, _CHUNK)]
    return [rng.standard_exponential((n, blocks), np.float32) for n in sizes]
