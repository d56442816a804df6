"""An ONNX graph with its matrix products in int8, by ONNX Runtime's quantisers."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
from onnxruntime import quantization

from recstack.bench.contenders.onnx_graph import OnnxGraph, indices_of
from recstack.data import random_batch

CALIBRATION_BATCHES = 8


def quantised_dynamically(graph: OnnxGraph) -> bytes:
    """Inputs quantised for each batch anew."""

    def quantise(source: Path, target: Path) -> None:
        quantization.quantize_dynamic(
            source, target, op_types_to_quantize=["MatMul", "Gemm"], per_channel=True
        )

    return _through_files(graph, quantise)


def quantised_statically(graph: OnnxGraph) -> bytes:
    """Pairs of quantise and dequantise nodes, ranges from random batches."""

    def quantise(source: Path, target: Path) -> None:
        quantization.quantize_static(
            source,
            target,
            _Batches(graph),
            op_types_to_quantize=["MatMul", "Gemm"],
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )

    return _through_files(graph, quantise)


class _Batches(quantization.CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, graph: OnnxGraph) -> None:
        self._graph, self._next = graph, 0

    def get_next(self) -> dict[str, Any] | None:
        """Inputs of the next batch by name; None at the end."""
        if self._next == CALIBRATION_BATCHES:
            return None
        form = self._graph.form
        batch = random_batch(form.model, self._graph.rows, self._next)
        self._next += 1
        given = {"dense": batch.dense} if form.model.dense else {}
        for i, group in enumerate(form.groups):
            given |= indices_of(group, i, self._graph.split[i], batch)
            given[f"table_{i}"] = group.table
        return given


def _through_files(graph: OnnxGraph, quantise: Callable[[Path, Path], None]) -> bytes:
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)  # it advises on the root logger
    try:
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
            source.write_bytes(graph.model())
            quantise(source, target)
            return bytes(onnx.load(target).SerializeToString())
    finally:
        logger.setLevel(level)
