"""An infer request between its queries' issue and its reply: what became of each query."""

from __future__ import annotations

import numpy as np

from recstack.batch import Batch
from recstack.serve.http.exchange import Exchange
from recstack.serve.protocol import Request
from recstack.serve.served import Served
from recstack.types import Completion, Scores


class Flight:
    """Gathers the completions of a request's queries; `parts` are their batches, in order.

    left: the queries that have not ended. failure: the first one that failed, and how.
    stages_ns: by stage, the longest of all queries.
    """

    __slots__ = (
        "_scores",
        "exchange",
        "failure",
        "left",
        "parts",
        "request",
        "served",
        "stages_ns",
    )

    def __init__(
        self, exchange: Exchange, served: Served, request: Request, parts: list[Batch]
    ) -> None:
        self.exchange = exchange
        self.served = served
        self.request = request
        self.parts = parts
        self.left = {i for i, part in enumerate(parts) if part.rows}
        self.stages_ns: dict[str, int] = {}
        self.failure: tuple[int, Completion] | None = None
        none = np.zeros((0, served.model.output_width), np.float32)
        self._scores: list[Scores | None] = [None if part.rows else none for part in parts]

    def end(self, i: int, completion: Completion) -> None:
        """Query i has ended."""
        self.left.discard(i)
        for stage, duration_ns in completion.stages_ns.items():
            self.served.metrics.stage(stage, duration_ns)
            self.stages_ns[stage] = max(duration_ns, self.stages_ns.get(stage, 0))
        if completion.status == "ok":
            self._scores[i] = completion.scores
        elif self.failure is None:
            self.failure = (i, completion)

    def scores(self) -> Scores:
        """(rows, outputs) float32 of the whole request.

        Raises ValueError where the model gave a query scores of another shape.
        """
        width = self.served.model.output_width
        found = []
        for part, scores in zip(self.parts, self._scores, strict=True):
            if scores is None or scores.shape != (part.rows, width):
                got = None if scores is None else scores.shape
                raise ValueError(f"expected scores {(part.rows, width)}, got {got}")
            found.append(scores)
        return found[0] if len(found) == 1 else np.concatenate(found)
