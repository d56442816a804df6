"""Metrics as sums over rows or queries, of reference and candidate scores side by side.

AUC is one to first order in the weights of its rows. `recstack.data.paired` resamples the sums.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from recstack.data.drawn import drawn_gains
from recstack.data.metrics import auc, entropy, query_gains, row_losses
from recstack.errors import ConfigError, Unprovable

Floats = NDArray[np.float64]
_AT_K = re.compile(r"(hr|ndcg)@([1-9][0-9]{0,5})(?:/([1-9][0-9]{0,5}))?")


@dataclass(frozen=True, slots=True)
class Parts:
    """What a metric sums: `values` (units, sums), one unit per row or per query.

    value: sums (n, sums) -> the metric of reference and candidate, (n,) each.
    unseen: sums of a unit that gains most and of one that loses most, of a metric that few units
        change at all. Where 0 of n units changed, resampling them would claim that none ever does;
        one more that gains is drawn along for the low end, one that loses for the high end. The 95%
        interval then ends near 3.7 / n, which is the exact one's end.
    unseen_alone: one such unit, not a whole group of them. What is independent is a group.
    """

    per: Literal["row", "query"]
    values: Floats
    value: Callable[[Floats], tuple[Floats, Floats]]
    unseen: tuple[Floats, Floats] | None = None
    unseen_alone: bool = False

    def unseen_sums(self, group: float) -> tuple[Floats, Floats]:
        """What is drawn along for the low and for the high end, of groups of so many units."""
        none = np.zeros(self.values.shape[1])
        low, high = self.unseen or (none, none)
        return (low, high) if self.unseen_alone else (low * group, high * group)


PartsOf = Callable[[Floats, Floats, Floats, NDArray[np.int64]], Parts]


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric by name: ne, logloss, auc, hr@K, ndcg@K, or a function of labels and scores.

    parts: (labels (R,), reference (R,), candidate (R,), query_offsets (Q + 1,)) -> what it sums.
    source: of one's own function, the text of its module, as far as Python knows it.
    most: (reference, candidate, query_offsets) -> the largest loss of a query, whichever of its
        rows is the positive one; None: the metric does not know one below 1.
    """

    name: str
    higher_is_better: bool
    parts: PartsOf
    source: str = ""
    most: Callable[[Floats, Floats, NDArray[np.int64]], float] | None = None


def parse_metric(text: str) -> Metric:
    """The metric of a name; ConfigError lists the names.

    >>> parse_metric("hr@10").higher_is_better
    True
    """
    if (found := _AT_K.fullmatch(text)) and found[3]:
        which, k, of = found[1], int(found[2]), int(found[3])
        if of <= k:
            raise ConfigError(f"expected more than {k} rows drawn for {which}@{k}, got {text!r}")
        gains = partial(drawn_gains, k=k, of=of, which=which)
        return Metric(
            text, True, partial(_drawn_parts, gains=gains),
            most=lambda before, after, at: float((gains(before, at) - gains(after, at)).max()),
        )  # fmt: skip
    if found:
        which, k = found[1], int(found[2])
        return Metric(text, True, lambda *a: _ranking_parts(*a, k=k, which=which))
    if text == "auc":
        return Metric(text, True, _auc_parts)
    if text in ("ne", "logloss"):
        return Metric(text, False, lambda *a: _loss_parts(*a, normalised=text == "ne"))
    raise ConfigError(
        f"expected a metric ne, logloss, auc, hr@K, ndcg@K, hr@K/N, ndcg@K/N or "
        f"module:function, got {text!r}"
    )


def metric_of(function: Callable[[Any, Any], Any], name: str) -> Metric:
    """A metric of your own: the mean over rows of function(labels (R,), scores (R,)) -> (R,).

    Lower is better, unless the function has an attribute `higher_is_better` that is true. Where
    most scores moved without it, it has steps, and an unseen row may take the largest.
    """
    higher = bool(getattr(function, "higher_is_better", False))

    def parts(labels: Floats, reference: Floats, candidate: Floats, _: Any) -> Parts:
        columns = [np.asarray(function(labels, s), np.float64) for s in (reference, candidate)]
        for column in columns:
            if column.shape != labels.shape or not np.isfinite(column).all():
                raise ConfigError(
                    f"expected {name} to return {labels.shape} finite numbers, one per row, got "
                    f"shape {column.shape}"
                )
        means = _means("row", np.stack([*columns, np.ones_like(labels)], axis=1))
        if not _few_change(columns[0] != columns[1], reference != candidate):
            return means
        ends = float(np.min(columns)), float(np.max(columns))
        if ends[0] == ends[1]:
            raise Unprovable(f"expected {name} to differ between rows, got {ends[0]} for all")
        worst, best = ends if higher else ends[::-1]
        return replace(means, unseen=step(best, worst))

    return Metric(name, higher, parts, _source(function))


def _source(function: Callable[..., Any]) -> str:
    try:
        return inspect.getsource(inspect.getmodule(function) or type(function))
    except (OSError, TypeError):  # typed in, or not written in Python
        return ""


def _means(per: Literal["row", "query"], values: Floats) -> Parts:
    """Two means with one count: sums of (reference, candidate, 1)."""
    return Parts(per, values, lambda s: (s[:, 0] / s[:, 2], s[:, 1] / s[:, 2]))


def step(best: float, worst: float) -> tuple[Floats, Floats]:
    """Sums of a unit that goes from worst to best, and of one that goes from best to worst."""
    return np.array([worst, best, 1.0]), np.array([best, worst, 1.0])


def _few_change(changed: NDArray[np.bool_], moved: NDArray[np.bool_]) -> bool:
    """Whether values changed in few of the rows whose scores moved: resampling says little then."""
    return bool(2 * np.count_nonzero(changed) < np.count_nonzero(moved))


def _check_classes(labels: Floats) -> None:
    if (ones := int((labels > 0).sum())) in (0, labels.size):
        raise Unprovable(f"expected both classes in labels, got {ones} ones of {labels.size}")


def _loss_parts(
    labels: Floats, reference: Floats, candidate: Floats, _: Any, *, normalised: bool
) -> Parts:
    losses = [row_losses(labels, scores) for scores in (reference, candidate)]
    if not normalised:
        return _means("row", np.stack([*losses, np.ones_like(labels)], axis=1))
    _check_classes(labels)

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
        raise Unprovable(
            f"expected queries of more than {trivial} rows for {which}@{k}, which is 1 whatever "
            f"the scores otherwise; got at most {longest}"
        )
    before, after = (f[column] for f in found)
    values = np.stack([before, after, np.ones(len(known))], axis=1)
    parts = _means("query", np.asarray(values * known[:, None]))
    moved = not np.array_equal(reference, candidate)
    return replace(parts, unseen=step(1.0, 0.0)) if moved else parts


def _drawn_parts(
    labels: Floats,
    reference: Floats,
    candidate: Floats,
    offsets: NDArray[np.int64],
    *,
    gains: Callable[[Floats, NDArray[np.int64]], Floats],
) -> Parts:
    """The mean over draws of a query's one positive among N; queries without one do not count."""
    positive = labels > 0
    count = np.add.reduceat(np.append(positive, 0), offsets[:-1]) * (np.diff(offsets) > 0)
    if count.max(initial=0) != 1:
        raise Unprovable(
            f"expected one positive row in each query that has any, got {count.max(initial=0)} "
            f"- at query {int(count.argmax()) if count.size else 0}"
        )
    values = np.zeros((len(count), 3))
    known = count > 0
    for column, scores in enumerate((reference, candidate)):
        values[known, column] = gains(scores, offsets)[positive]
    values[:, 2] = known
    parts = _means("query", values)
    moved = not np.array_equal(reference, candidate)
    return replace(parts, unseen=step(1.0, 0.0)) if moved else parts


def _auc_parts(labels: Floats, reference: Floats, candidate: Floats, _: Any) -> Parts:
    """To first order in the weights: DeLong et al., Biometrics 44(3), 1988, structural components.

    A row's component is the share of the other class that it is ordered right against. Where few
    rows' change, one is drawn along that loses every pair which the scores' moves could turn.
    """
    _check_classes(labels)
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

    parts = Parts("row", values, value)
    if not _few_change(components[0] != components[1], reference != candidate):
        return parts
    # A pair can be turned only where its scores lie no further apart than the moves do.
    reach = float(np.ptp(candidate - reference))
    lost = [_largest_share(reference[other], reach) for other in (~positive, positive)]
    kind = int(lost[1] / (~positive).sum() > lost[0] / positive.sum())
    unseen = np.zeros((2, 6))
    unseen[:, 4 + kind] = 1.0
    unseen[:, 2 * kind] = totals[0]
    unseen[:, 2 * kind + 1] = totals[0] + np.array([lost[kind], -lost[kind]])
    return replace(parts, unseen=(unseen[0], unseen[1]), unseen_alone=True)


def _largest_share(scores: Floats, reach: float) -> float:
    """The largest share of the scores within one stretch of this length."""
    found = np.sort(scores)
    ends = np.searchsorted(found, found + reach, "right")
    return float((ends - np.arange(len(found))).max() / len(found))


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
