"""OpenVINO's CPU plugin: inputs and tables shared, one infer request per staged batch."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import openvino as ov

from recstack.batch import Batch
from recstack.bench.contender import Setting
from recstack.bench.contenders.onnx_graph import OnnxGraph, indices_of
from recstack.bench.contenders.onnx_int8 import quantised_statically
from recstack.bench.form import form_of
from recstack.bench.tables import writable
from recstack.model import Model
from recstack.types import Scores


class OpenVino:
    """Latency hint, one stream, float32 (its own default may be bfloat16).

    It reads the same ONNX graph as ONNX Runtime: its own embedding-bag operator is slower than a
    gather and a sum at few rows (docs/benchmark.md).
    """

    name = "OpenVINO"
    precision = "f32"

    def __init__(self, model: Model, setting: Setting) -> None:
        self._form = form_of(model)
        graph = OnnxGraph(self._form, setting.rows)
        self._split = graph.split
        core = ov.Core()
        options = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": setting.threads,
            "NUM_STREAMS": 1,
            "INFERENCE_PRECISION_HINT": self.precision,
        }
        self._compiled = core.compile_model(core.read_model(self.made(graph), b""), "CPU", options)
        self._ports = {port.any_name: port for port in self._compiled.inputs}
        self._request = self._compiled.create_infer_request()
        for i, group in enumerate(self._form.groups):
            self._request.set_tensor(self._ports[f"table_{i}"], _shared(group.table))
        self._bound: Any = None

    def made(self, graph: OnnxGraph) -> bytes:
        """The graph as it is read."""
        return graph.model()

    def version(self) -> str:
        """OpenVINO's version."""
        return str(ov.__version__).split("-")[0]

    def stage(self, batch: Batch) -> Any:
        """The inputs as tensors on the batch's memory."""
        given = {"dense": batch.dense} if self._form.model.dense else {}
        for i, group in enumerate(self._form.groups):
            given |= indices_of(group, i, self._split[i], batch)
        return [(self._ports[n], _shared(np.ascontiguousarray(a))) for n, a in given.items()]

    def run(self, staged: Any) -> Any:
        """Point the request at the inputs and infer."""
        for port, tensor in staged:
            self._request.set_tensor(port, tensor)
        self._request.infer(share_outputs=True)
        return self._request

    def scores(self, result: Any) -> Scores:
        """A copy of the output, which the next run writes again."""
        return np.array(result.get_output_tensor(0).data, np.float32)

    def turn(self) -> nullcontext[None]:
        """Nothing to set: the plugin owns its threads, which sleep when nothing has run lately."""
        return nullcontext()


class OpenVinoBf16(OpenVino):
    """Its bfloat16 hint; tables stay float32."""

    name = "OpenVINO, bf16"
    precision = "bf16"


class OpenVinoInt8(OpenVino):
    """Linears with static int8 ranges, calibrated on random batches; tables stay float32."""

    name = "OpenVINO, int8 linears"

    def made(self, graph: OnnxGraph) -> bytes:
        """The graph with quantised inputs and weights around its matrix products."""
        return quantised_statically(graph)


def _shared(array: Any) -> Any:
    return ov.Tensor(writable(array), shared_memory=True)
