"""Scoring labelled data with a plan, and proving that the plan keeps a budget."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recstack.data.labelled import LabelledData
from recstack.data.paired import RESAMPLES, PairedTest
from recstack.data.paired_metrics import Metric
from recstack.engine import EngineConfig, compile
from recstack.errors import ConfigError
from recstack.model import Model
from recstack.precision.budget import Budget, Judgement, judge
from recstack.precision.plan import PrecisionPlan, apply
from recstack.types import Executor

CHUNK_ROWS = 16_384
LEVEL = 0.95


def score(executor: Executor, data: LabelledData) -> NDArray[np.float32]:
    """Scores of every row, (R, outputs) float32."""
    parts = [executor.run(part.batch) for part in data.chunks(CHUNK_ROWS)]
    return np.concatenate(parts) if parts else executor.run(data.batch)


def check_labels(model: Model, data: LabelledData) -> None:
    """Raise ConfigError unless there is a column of labels for every output of the model."""
    tasks = data.labels.shape[1]
    if tasks != model.output_width:
        raise ConfigError(
            f"expected labels of {model.output_width} tasks, one per output of {model.name!r}, "
            f"got {tasks}"
        )


@dataclass(frozen=True, slots=True)
class Proof:
    """What labelled data say about a plan. judgement: against the budget, by the interval."""

    plan: PrecisionPlan
    budget: Budget
    judgement: Judgement

    @property
    def holds(self) -> bool:
        """Whether the plan is proven to keep the budget."""
        return self.judgement.outcome == "within"


def prove(
    model: Model,
    plan: PrecisionPlan,
    data: LabelledData,
    metric: Metric,
    budget: Budget,
    *,
    config: EngineConfig | None = None,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Proof:
    """Score `data` with the fp32 `model` and with the plan, and judge the paired difference.

    config: of both engines, but for the precision. level: of the two-sided interval, whose bad end
    decides. Raises ConfigError for a plan or labels that do not fit the model and for scores of the
    model that are not finite, Unprovable for data that can prove nothing.
    """
    check_labels(model, data)
    config = config or EngineConfig()
    reference = score(compile(model, config.model_copy(update={"precision": "fp32"})), data)
    test = paired_test(data, reference, resamples=resamples, seed=seed)
    candidate = score(compile(*apply(model, plan, config)), data)
    most = largest_losses(metric, data, [(data, reference, candidate)])
    found = test.compare(metric, candidate, relative=budget.relative, level=level, most=most)
    return Proof(plan, budget, judge(found, budget))


def paired_test(
    data: LabelledData, reference: NDArray[Any], *, resamples: int = RESAMPLES, seed: int = 0
) -> PairedTest:
    """The test of other scores of `data` against these."""
    return PairedTest(
        data.labels, reference, data.batch.query_offsets, data.groups,
        resamples=resamples, seed=seed,
    )  # fmt: skip


def largest_losses(
    metric: Metric,
    data: LabelledData,
    scored: Iterable[tuple[LabelledData, NDArray[Any], NDArray[Any]]],
) -> list[float] | None:
    """The largest loss of any query of `data` per task, whichever of its rows is the positive one.

    scored: all of the data in parts, with the model's and the plan's scores; labels are not read.
    None where the data are not closed, the metric knows no such loss or a score is not finite.
    """
    most = metric.most
    if most is None or not data.closed:
        return None
    found = []
    for part, before, after in scored:
        if not np.isfinite(after).all():
            return None
        at = part.batch.query_offsets.astype(np.int64)
        found.append([most(b, a, at) for b, a in zip(before.T, after.T, strict=True)])
    return [max(losses) for losses in zip(*found, strict=True)]
