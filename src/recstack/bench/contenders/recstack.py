"""recstack's own engine, which checks and reads every batch as it comes."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any
from weakref import WeakKeyDictionary

from recstack import __version__
from recstack.batch import Batch
from recstack.bench.contender import Setting, Unsupported
from recstack.engine import DenseFormat, Engine, EngineConfig, HybridEngine, compile
from recstack.model import Model
from recstack.model.ops import EmbeddingBag
from recstack.precision.plan import apply
from recstack.rows import RowFormat
from recstack.types import Scores


class Recstack:
    """The engine as users call it: staging does nothing, and indices are checked inside the clock.

    Its peers have their inputs laid out before the clock starts and do not check them.
    """

    name = "recstack"
    tables: RowFormat = RowFormat.FP32
    layers: DenseFormat = "fp32"

    def __init__(self, model: Model, setting: Setting) -> None:
        config = EngineConfig(isa=setting.isa, threads=setting.threads, precision=self.layers)
        if self.tables is not RowFormat.FP32:
            model = _quantised(model, self.tables)
        self.engine = self._compiled(model, setting, config)

    def _compiled(
        self, model: Model, setting: Setting, config: EngineConfig
    ) -> Engine | HybridEngine:
        return compile(model, config)

    def version(self) -> str:
        """recstack's version."""
        return __version__

    def stage(self, batch: Batch) -> Batch:
        """The batch itself."""
        return batch

    def run(self, staged: Any) -> Any:
        """One call of the engine."""
        return self.engine.run(staged)

    def scores(self, result: Any) -> Scores:
        """The scores themselves."""
        scores: Scores = result
        return scores

    def turn(self) -> nullcontext[None]:
        """Nothing to set: the engine owns its threads."""
        return nullcontext()


class RecstackBf16(Recstack):
    """int8 tables, bf16 layers."""

    name = "recstack, int8 tables, bf16"
    tables: RowFormat = RowFormat.INT8
    layers: DenseFormat = "bf16"


class RecstackInt8(Recstack):
    """int8 tables, int8 layers with ranges found for every row."""

    name = "recstack, int8 tables and layers"
    tables: RowFormat = RowFormat.INT8
    layers: DenseFormat = "int8"


class RecstackInt4(RecstackInt8):
    """int4 tables, int8 layers."""

    name = "recstack, int4 tables, int8 layers"
    tables: RowFormat = RowFormat.INT4


class RecstackPlan(Recstack):
    """The precision plan of the setting."""

    name = "recstack, its plan"

    def _compiled(
        self, model: Model, setting: Setting, config: EngineConfig
    ) -> Engine | HybridEngine:
        if setting.plan is None:
            raise Unsupported("no precision plan is given")
        return compile(*apply(model, setting.plan, config))


# Quantised once for all cells of a model.
_models: WeakKeyDictionary[Model, dict[RowFormat, Model]] = WeakKeyDictionary()


def _quantised(model: Model, sort: RowFormat) -> Model:
    made = _models.setdefault(model, {})
    if sort not in made:
        tables = {op.table for op in model.ops if isinstance(op, EmbeddingBag)}
        made[sort] = model.with_table_formats(dict.fromkeys(tables, sort))
    return made[sort]
