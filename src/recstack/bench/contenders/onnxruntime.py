"""ONNX Runtime: inputs, tables and the output bound beforehand, so that a run copies nothing."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import onnxruntime as ort

from recstack.batch import Batch
from recstack.bench.contender import Setting, Unsupported
from recstack.bench.contenders.onnx_graph import OnnxGraph, indices_of
from recstack.bench.contenders.onnx_int8 import quantised_dynamically
from recstack.bench.form import form_of
from recstack.bench.tables import writable
from recstack.model import Model
from recstack.types import Scores


class OnnxRuntime:
    """CPU provider, all optimisations, sequential execution."""

    name = "ONNX Runtime"

    def __init__(self, model: Model, setting: Setting) -> None:
        if setting.isa != "auto":
            raise Unsupported("it has no setting that holds it to an instruction set")
        self._form = form_of(model)
        self._rows = setting.rows
        graph = OnnxGraph(self._form, setting.rows)
        self._split = graph.split
        options = ort.SessionOptions()
        options.intra_op_num_threads = setting.threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        self._session = ort.InferenceSession(
            self.made(graph), options, providers=["CPUExecutionProvider"]
        )
        self._tables = {f"table_{i}": _value(g.table) for i, g in enumerate(self._form.groups)}
        self._out = np.zeros((setting.rows, model.output_width), np.float32)

    def made(self, graph: OnnxGraph) -> bytes:
        """The graph as it is loaded."""
        return graph.model()

    def version(self) -> str:
        """ONNX Runtime's version."""
        return str(ort.__version__)

    def stage(self, batch: Batch) -> Any:
        """A binding of all inputs and the output."""
        given = {"dense": batch.dense} if self._form.model.dense else {}
        for i, group in enumerate(self._form.groups):
            given |= indices_of(group, i, self._split[i], batch)
        binding = self._session.io_binding()
        # A binding keeps no reference to what it binds.
        kept = {**{n: _value(np.ascontiguousarray(a)) for n, a in given.items()}, **self._tables}
        for name, value in kept.items():
            binding.bind_ortvalue_input(name, value)
        binding.bind_ortvalue_output("scores", _value(self._out))
        return binding, kept, given

    def run(self, staged: Any) -> Any:
        """One call of the session."""
        self._session.run_with_iobinding(staged[0])
        return self._out

    def scores(self, result: Any) -> Scores:
        """A copy of the output, which the next run writes again."""
        return np.array(result)

    def turn(self) -> nullcontext[None]:
        """Nothing to set: the session owns its threads, which sleep when nothing has run lately."""
        return nullcontext()


class OnnxRuntimeInt8(OnnxRuntime):
    """Linears quantised by its own dynamic quantiser; tables stay float32: it has no int8 bags."""

    name = "ONNX Runtime, int8 linears"

    def made(self, graph: OnnxGraph) -> bytes:
        """The graph with its matrix products in int8, weights per output channel."""
        return quantised_dynamically(graph)


def _value(array: Any) -> Any:
    return ort.OrtValue.ortvalue_from_numpy(writable(array), "cpu", 0)
