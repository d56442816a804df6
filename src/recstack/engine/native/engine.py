"""The native engine: a plan ready to run."""

from __future__ import annotations

import time

import numpy as np

from recstack import _native
from recstack.batch import Batch
from recstack.engine.config import EngineConfig, choose_isa
from recstack.engine.memory import EngineMemory, engine_memory
from recstack.engine.native.build import make_program
from recstack.engine.precision import DenseFormat
from recstack.engine.reference.checks import check_batch
from recstack.engine.tables import drop_packed, place_tables
from recstack.errors import BatchError, ConfigError, ModelError, RecstackError
from recstack.model import Model
from recstack.types import Scores


class Engine:
    """Runs a model natively; safe to call from several threads, which take turns.

    Made by `recstack.compile`. Weights are packed once; a run allocates nothing but the scores and
    holds no GIL. Tables are the model's own arrays or, for a model mapped from files, one copy on
    huge pages that all its engines share (`EngineConfig.table_memory`, `Engine.memory`).

    model: as given. placed: the same with its tables where the engine reads them. layers: what each
    dense layer really runs in, which may be wider than was asked for (`LayerInUse`).
    finite: dense inputs that are not finite are refused; part of a model may be given them.
    """

    def __init__(self, model: Model, config: EngineConfig, *, finite: bool = True) -> None:
        self.model = model
        self.config = config
        self.isa = choose_isa(config.isa)
        began = time.perf_counter()
        self.placed, self._tables = place_tables(model, config.table_memory)
        moved = self._tables.kind == "huge"
        self._tables_ms = 1e3 * (time.perf_counter() - began) if moved else 0.0
        try:
            self.program, self.build_cost, self.layers = make_program(self.placed, config, finite)
        except MemoryError:
            raise ConfigError("the plan of this model does not fit in memory") from None
        except TypeError as error:
            raise ModelError(f"a number of this model is out of range: {error}") from error
        self.factory = _native.TeamFactory(self.program, config.threads)
        try:
            self._runner = _native.Runner(self.factory)
        except MemoryError:
            raise ConfigError("the workspace of this model does not fit in memory") from None
        except RuntimeError as error:
            raise ConfigError(
                f"expected a system with room for {config.threads} threads: {error} - at "
                "`EngineConfig.threads`"
            ) from None
        drop_packed(model, self._tables)

    @property
    def formats(self) -> dict[str, tuple[DenseFormat, ...]]:
        """By the layer's name, the formats of its products (`LayerInUse.formats`)."""
        return {layer.name: layer.formats for layer in self.layers}

    @property
    def memory(self) -> EngineMemory:
        """What the engine holds now, and what building it took."""
        return engine_memory(self.placed, self._tables, self._tables_ms, [self.build_cost])

    def run(self, batch: Batch, out: Scores | None = None) -> Scores:
        """Scores of `batch`, (rows, outputs) float32, into `out` when given.

        Raises IndexOutOfRange, NonFinite or another BatchError naming feature, row and value; `out`
        then holds nothing of use. A row's scores do not depend on the rows beside it.
        """
        try:
            scores = self._runner.run(
                batch.dense,
                batch.user_dense,
                batch.values,
                batch.lengths,
                batch.query_offsets,
                batch.weights,
                out,
            )
        except (AttributeError, MemoryError, TypeError):
            scores = None
        if scores is None:
            raise fault(self.model, batch, out)
        if not len(scores):
            check_batch(self.model, batch)
        return scores


def fault(model: Model, batch: Batch, out: Scores | None) -> RecstackError:
    """The error that says why a native run of `batch` failed."""
    try:
        check_batch(model, batch)
    except RecstackError as error:
        return error
    want = (batch.rows, model.output_width)
    if out is not None:
        if not isinstance(out, np.ndarray) or out.shape != want or out.dtype != np.float32:
            return BatchError(f"expected {want} float32, got {_kind(out)}", "out")
        if not out.flags.carray:
            return BatchError("expected a contiguous, aligned array that can be written", "out")
    for name in ("dense", "user_dense", "values", "lengths", "query_offsets", "weights"):
        array = getattr(batch, name)
        if array is not None and not array.flags.c_contiguous:
            return BatchError("expected a contiguous array, got a strided one", name)
        if array is not None and not array.flags.aligned:
            return BatchError("expected an aligned array, got one at an odd address", name)
    return RecstackError("the native engine refused a batch that the reference accepts")


def _kind(out: object) -> str:
    return f"{out.shape} {out.dtype}" if isinstance(out, np.ndarray) else type(out).__name__
