"""Logistic regression on the same split and the same features as Wide & Deep and DIN."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from dataset import Dataset, Part
from scipy import sparse
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from recstack.data.metrics import auc

BAGS = {
    "lr-dense": (),
    "lr": ("user", "movie", "year", "genres"),
    "lr-all": ("user", "movie", "year", "genres", "user_x_genre", "history"),
}
STRENGTHS = tuple(10.0 ** (k / 2) for k in range(-7, -1))


def design(part: Part, bags: Sequence[str], table_rows: dict[str, int]) -> sparse.csr_matrix:
    """(R, columns): the dense features, then each sparse one as counts; index 0 is a column too."""
    rows = part.rows
    blocks = [sparse.csr_matrix(np.hstack([rows.user_dense, rows.dense]))]
    for name in bags:
        values, lengths = rows.sparse[name]
        ends = np.concatenate([[0], np.cumsum(lengths)])
        shape = (len(lengths), table_rows[name])
        blocks.append(sparse.csr_matrix((np.ones(len(values)), values, ends), shape))
    return sparse.hstack(blocks).tocsr()


def fit(data: Dataset, bags: Sequence[str]) -> tuple[np.ndarray, dict[str, float]]:
    """Weights (columns + 1,) float64, the bias last, and the chosen C with its validation AUC.

    C, the inverse penalty, is the best of STRENGTHS on the validation part; the fit is on the
    training part alone.
    """
    train, valid = (
        design(data.parts[name], bags, data.features.table_rows) for name in ("train", "valid")
    )
    weights, chosen = np.zeros(0), {"C": 0.0, "valid_auc": -1.0}
    for strength in STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=1000)
        model.fit(train, data.parts["train"].labels)
        found = auc(data.parts["valid"].labels, model.predict_proba(valid)[:, 1])
        if found > chosen["valid_auc"]:
            weights = np.append(model.coef_[0], model.intercept_)
            chosen = {"C": strength, "valid_auc": found}
    return weights, chosen


def score(data: Dataset, name: str, part: str, weights: np.ndarray) -> np.ndarray:
    """Probabilities of a like, (R,) float64."""
    x = design(data.parts[part], BAGS[name], data.features.table_rows)
    return expit(x @ weights[:-1] + weights[-1])
