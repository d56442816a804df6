"""The bundled example: its ratings, and how its models do on those held out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recstack.data import metrics
from recstack.data.movielens.features import Features, queries
from recstack.data.movielens.ratings import load, split
from recstack.types import Executor, Query

RESAMPLES = 200


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Test figures of a bundled model, recomputed here, beside what training measured."""

    rows: int
    auc: metrics.Interval
    log_loss: metrics.Interval
    torch_auc: float
    baseline_auc: float

    def to_record(self, model: str) -> dict[str, Any]:
        """As a record of a result file."""
        return {
            "record": "accuracy", "origin": "measured", "model": model, "rows": self.rows,
            "auc": self.auc.value, "auc_low": self.auc.low, "auc_high": self.auc.high,
            "log_loss": self.log_loss.value, "log_loss_low": self.log_loss.low,
            "log_loss_high": self.log_loss.high, "torch_auc": self.torch_auc,
            "baseline": "logistic regression", "baseline_auc": self.baseline_auc,
        }  # fmt: skip


class Example:
    """The folder `examples/movielens` of a clone, with its data and what training measured.

    names: the sparse features of a model, in its order. Raises DataError for malformed files.
    """

    def __init__(self, folder: Path) -> None:
        self._data = load(folder / "data" / "ratings.csv.gz", folder / "data" / "movies.csv.gz")
        _, valid, self._test = split(self._data)
        self._features = Features(self._data, train_until=int(self._data.time[valid[0]]))
        self._trained = json.loads((folder / "checkpoints" / "metrics.json").read_text())["models"]

    def query(self, names: Sequence[str], index: int, rows: int) -> Query:
        """Serving query `index`: one user and `rows` movies."""
        return queries(self._features, names, 1, rows, index)[0]

    def accuracy(self, executor: Executor, names: Sequence[str], model: str) -> Accuracy:
        """Every held-out rating scored by an executor of `model`; intervals by whole users."""
        data, test = self._data, self._test
        rows = self._features.of(data.user[test], data.movie[test], data.time[test])
        scores = executor.run(rows.batch(names))[:, 0].astype(np.float64)
        labels, users = data.liked[test], data.user[test]
        auc, log_loss = (
            metrics.bootstrap(metric, labels, scores, groups=users, resamples=RESAMPLES)
            for metric in (metrics.auc, metrics.log_loss)
        )
        return Accuracy(
            rows=len(test),
            auc=auc,
            log_loss=log_loss,
            torch_auc=self._auc_of(model),
            baseline_auc=self._auc_of("lr"),
        )

    def _auc_of(self, model: str) -> float:
        return float(self._trained[model]["by_user"]["auc"]["value"])
