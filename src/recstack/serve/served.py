"""One model as it is served: its codec, its SUT, its metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recstack.model import Model
from recstack.serve.metrics import ModelMetrics
from recstack.serve.protocol import Codec, Limits
from recstack.serve.protocol.reply import SCORES
from recstack.serve.protocol.schema import packed_metadata, tensor_metadata, tensor_names
from recstack.types import SUT

VERSION = "1"
PLATFORM = "recstack"


class Served:
    """A model and the SUT that scores for it."""

    def __init__(self, name: str, model: Model, sut: SUT, limits: Limits) -> None:
        self.name = name
        self.model = model
        self.sut = sut
        self.codec = Codec(model, limits, name)
        self.metrics = ModelMetrics()

    def metadata(self) -> dict[str, Any]:
        """The model's metadata: the named form under `inputs`; as parameters the packed one, the
        tensors that have an entry per query instead of per row, and what the scores' columns are.
        """
        user = [i for i in self.model.inputs if i.scope == "user"]
        return {
            "name": self.name,
            "versions": [VERSION],
            "platform": PLATFORM,
            "inputs": tensor_metadata(self.model.inputs),
            "outputs": [
                {"name": SCORES, "datatype": "FP32", "shape": [-1, self.model.output_width]}
            ],
            "parameters": {
                "packed_inputs": packed_metadata(self.codec.schema),
                "user_inputs": [name for one in user for name in tensor_names(one)],
                "score_columns": [
                    {"name": output, "columns": n} for output, n in self.model.score_columns
                ],
            },
        }

    def sut_stats(self) -> Mapping[str, float]:
        """Numbers that the SUT counts of itself: a dispatcher's counters, or a mapping."""
        stats = getattr(self.sut, "stats", None)
        if not callable(stats):
            return {}
        found = stats()
        counters: Mapping[str, float] = getattr(found, "counters", found)
        return {str(name): float(value) for name, value in counters.items()}

    def statistics(self) -> dict[str, Any]:
        """The statistics extension's form; `queue` and `compute_infer` as the SUT reports them."""
        metrics = self.metrics

        def stage(*names: str) -> dict[str, int]:
            found = [metrics.stages[n] for n in names if n in metrics.stages]
            count = max((h.count for h in found), default=0)
            return {"count": count, "ns": sum(h.total for h in found)}

        return {
            "name": self.name,
            "version": VERSION,
            "last_inference": metrics.last_inference_ms,
            "inference_count": metrics.scored,
            "execution_count": int(self.sut_stats().get("batches", metrics.queries)),
            "inference_stats": {
                "success": {"count": metrics.ok.count, "ns": metrics.ok.total},
                "fail": {"count": metrics.failed.count, "ns": metrics.failed.total},
                "queue": stage("queue"),
                "compute_input": stage("decode", "assemble"),
                "compute_infer": stage("execute"),
                "compute_output": stage("gather", "encode"),
                "cache_hit": {"count": 0, "ns": 0},
                "cache_miss": {"count": 0, "ns": 0},
            },
            "batch_stats": [],
        }
