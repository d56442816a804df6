"""A model's scores, and other values inside it, as an engine computes them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from recstack.batch import Batch
from recstack.engine import EngineConfig, compile
from recstack.model import Model
from recstack.model.model import build
from recstack.types import Scores

Values = dict[str, NDArray[np.float32]]


class Inside:
    """An engine that gives the named values beside the scores.

    It keeps what another would fuse away, so that a value may differ in rounding from what a fused
    step makes of it.
    """

    def __init__(
        self, model: Model, names: Iterable[str], config: EngineConfig | None = None
    ) -> None:
        self._names = tuple(dict.fromkeys(names))
        self._outputs = model.outputs
        found = list(dict.fromkeys([*model.outputs, *self._names]))
        changed = model.description.model_copy(update={"outputs": tuple(found), "arguments": ()})
        self._engine = compile(build(changed, model.weights), config)
        ends = np.cumsum([0, *(model.values[name].elements for name in found)]).tolist()
        self._columns = {n: slice(a, b) for n, (a, b) in zip(found, pairwise(ends), strict=True)}
        self.row_bytes = 4 * ends[-1]

    def run(self, batch: Batch) -> tuple[Scores, Values]:
        """Scores (rows, outputs), and each named value for every row, (rows, elements) float32.

        A user-scope value is repeated on every row of its query.
        """
        whole = self._engine.run(batch)
        scores = np.concatenate([whole[:, self._columns[n]] for n in self._outputs], axis=1)
        return scores, {name: whole[:, self._columns[name]] for name in self._names}
