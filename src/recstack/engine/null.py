"""The executor that does nothing: what remains is the cost of everything around it."""

from __future__ import annotations

import numpy as np

from recstack.batch import Batch
from recstack.model import Model
from recstack.types import Scores


class NullExecutor:
    """Zeros at once, whatever the batch holds.

    >>> from recstack.batch import Batch
    >>> offsets, empty = np.array([0, 2], np.int32), np.zeros((0, 0), np.float32)
    >>> batch = Batch(empty, empty, np.zeros(0, np.int32), np.zeros(0, np.int32), offsets)
    >>> NullExecutor(outputs=1).run(batch).tolist()
    [[0.0], [0.0]]
    """

    def __init__(self, model: Model | None = None, outputs: int = 1) -> None:
        self._outputs = outputs if model is None else model.output_width

    def run(self, batch: Batch) -> Scores:
        """Zeros of shape (rows, outputs), float32; raises nothing."""
        return np.zeros((batch.rows, self._outputs), np.float32)
