"""The samples of a run: MLPerf's query trace over synthetic inputs, with labels where asked."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from recstack.batch import Batch
from recstack.loadtest.sizes import MLPerf
from recstack.types import Query, Scores


class SampleLibrary:
    """Samples 0..count-1; each is a query whose size is the trace's, made when it is loaded.

    make: makes sample `index` of so many rows.
    """

    def __init__(self, make: Callable[[int, int], Query], count: int) -> None:
        self._make = make
        self.rows = MLPerf().sample(count, np.random.default_rng(0))
        self._loaded: dict[int, Batch] = {}

    def __len__(self) -> int:
        return int(self.rows.size)

    def __getitem__(self, index: int) -> Batch:
        if index not in self._loaded:
            self.load([index])
        return self._loaded[index]

    def load(self, indices: list[int]) -> None:
        """Make these samples; LoadGen calls it outside of what it times."""
        for index in indices:
            self._loaded[index] = self._make(index, int(self.rows[index])).batch

    def unload(self, indices: list[int]) -> None:
        """Drop these samples."""
        for index in indices:
            self._loaded.pop(index, None)


def teacher_labels(scores: list[Scores], seed: int) -> list[NDArray[np.float32]]:
    """Synthetic 0/1 labels per sample, drawn so that the given scores rank them well.

    scores: per sample (rows, outputs); the first output is taken. A row's label is 1 with the
    probability that a logistic curve through its standardised score gives.
    """
    first = np.concatenate([s[:, 0] for s in scores]).astype(np.float64)
    z = (first - first.mean()) / max(float(first.std()), 1e-12)
    drawn = np.random.default_rng(seed).random(z.size) < 1.0 / (1.0 + np.exp(-2.0 * z))
    ends = np.cumsum([len(s) for s in scores])[:-1]
    return np.split(drawn.astype(np.float32), ends)
