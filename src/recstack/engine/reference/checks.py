"""What every executor refuses: inputs that do not fit the model. One order, one set of errors."""

from __future__ import annotations

import numpy as np

from recstack.batch import Batch, DenseInput, check
from recstack.engine.reference.bags import Bags, split_bags
from recstack.errors import BatchError, IndexOutOfRange, NonFinite
from recstack.model import Model, feature_tables
from recstack.model.ops import EmbeddingBag, SequenceMask


def check_batch(model: Model, batch: Batch) -> None:
    """Raise unless `batch` fits `model`; the first fault in this order is the one reported.

    1. dtypes and sizes (`recstack.batch.check`), BatchError;
    2. each dense input, in the model's order: NonFinite, first row, then first column;
    3. each sparse input, in the model's order: a bag longer than a sequence may be (BatchError),
       an index outside [0, limit) with the limit of `feature_tables` (IndexOutOfRange; padding
       must be in range too), a lookup weight (NonFinite; its column is the place in the bag).
    """
    check(model.inputs, batch)
    _check_dense(model, batch)
    bags = split_bags(model, batch)
    sequences = sequence_features(model)
    for item, limit in feature_tables(model):
        if item.name in sequences:
            _check_length(bags[item.name])
        _check_indices(bags[item.name], limit)
        _check_weights(bags[item.name])


def sequence_features(model: Model) -> set[str]:
    """Names of the sparse inputs whose bags are laid out as sequences of `length` positions."""
    return {
        op.inputs[0]
        for op in model.ops
        if isinstance(op, SequenceMask) or (isinstance(op, EmbeddingBag) and op.pooling == "none")
    }


def _check_dense(model: Model, batch: Batch) -> None:
    columns = {"item": 0, "user": 0}
    for item in model.inputs:
        if not isinstance(item, DenseInput):
            continue
        source = batch.dense if item.scope == "item" else batch.user_dense
        at = columns[item.scope]
        columns[item.scope] += item.width
        bad = np.argwhere(~np.isfinite(source[:, at : at + item.width]))
        if bad.size:
            row, column = (int(i) for i in bad[0])
            raise NonFinite(item.name, row, column, float(source[row, at + column]))


def _check_length(bags: Bags) -> None:
    item = bags.feature
    if (long := np.flatnonzero(bags.lengths > item.length)).size:
        entry = int(long[0])
        raise BatchError(
            f"expected at most {item.length} indices, got {bags.lengths[entry]}",
            f"feature {item.name!r}, {'row' if item.scope == 'item' else 'query'} {entry}",
        )


def _check_indices(bags: Bags, limit: int) -> None:
    wrong = np.flatnonzero((bags.values < 0) | (bags.values >= limit))
    if wrong.size:
        at = int(wrong[0])
        raise IndexOutOfRange(bags.feature.name, int(bags.owners[at]), int(bags.values[at]), limit)


def _check_weights(bags: Bags) -> None:
    if bags.weights is None:
        return
    if (bad := np.flatnonzero(~np.isfinite(bags.weights))).size:
        at = int(bad[0])
        owner, position = int(bags.owners[at]), int(bags.positions[at])
        raise NonFinite(bags.feature.name, owner, position, float(bags.weights[at]))
