"""A form as an ONNX model: tables are inputs, so that they stay where they lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from recstack.bench.form import Form, Group
from recstack.bench.lowering import Floats, lower
from recstack.model.ops import Shape

OPSET = 18
IR_VERSION = 10
UNARY = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "exp": "Exp", "log": "Log",
         "sqrt": "Sqrt", "abs": "Abs", "neg": "Neg", "erf": "Erf", "floor": "Floor",
         "sign": "Sign"}  # fmt: skip
BINARY = {"add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "pow": "Pow", "maximum": "Max",
          "minimum": "Min"}  # fmt: skip
REDUCE = {"sum": "ReduceSum", "mean": "ReduceMean", "max": "ReduceMax", "min": "ReduceMin"}


class OnnxGraph:
    """Builds the model; values are names. `inputs` names the graph's inputs in order."""

    def __init__(self, form: Form, rows: int) -> None:
        self.form, self.rows = form, rows
        self._nodes: list[Any] = []
        self._initializers: list[Any] = []
        self._inputs: list[Any] = []
        self.split: dict[int, bool] = {}
        scores = lower(form, rows, self)
        self._nodes.append(helper.make_node("Identity", [scores], ["scores"]))

    def model(self) -> bytes:
        """The model, serialised."""
        width = self.form.model.output_width
        output = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [self.rows, width])
        graph = helper.make_graph(
            self._nodes, "form", self._inputs, [output], initializer=self._initializers
        )
        opsets = [helper.make_opsetid("", OPSET)]
        made = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
        return bytes(made.SerializeToString())

    def dense(self) -> str:
        """Input `dense`."""
        width = sum(item.width for item in self.form.model.dense)
        return self._input("dense", TensorProto.FLOAT, (self.rows, width))

    def pooled(self, group: int, split: bool) -> str:
        """Gathered rows summed; inputs `indices_<g>`, or one per feature, and `table_<g>`."""
        it = self.form.groups[group]
        self.split[group] = split
        table = self._input(f"table_{group}", TensorProto.FLOAT, it.table.shape)
        sort = TensorProto.INT32 if len(it.table) < 1 << 31 else TensorProto.INT64
        count, dim = len(it.places), it.table.shape[1]
        if split:
            shape: Shape = (self.rows, it.length)
            bags = [
                self._sum(table, self._input(f"indices_{group}_{i}", sort, shape), 1)
                for i in range(count)
            ]
            return self.concat(bags, 1)
        if it.length == 1:
            indices = self._input(f"indices_{group}", sort, (self.rows, count))
            rows = self._node("Gather", table, indices)
        else:
            indices = self._input(f"indices_{group}", sort, (self.rows, count, it.length))
            rows = self._sum(table, indices, 2)
        return self.reshape(rows, (self.rows, count * dim))

    def linear(self, x: str, weight: Floats, bias: Floats | None, rank: int) -> str:
        """Gemm for rows, MatMul and Add for more axes; both are packed when loaded."""
        if rank == 2:
            given = [x, self.constant(weight)] + ([] if bias is None else [self.constant(bias)])
            return self._node("Gemm", *given, transB=1)
        made = self._node("MatMul", x, self.constant(np.ascontiguousarray(weight.T)))
        return made if bias is None else self._node("Add", made, self.constant(bias))

    def unary(self, fn: str, x: str) -> str:
        """One node."""
        return self._node(UNARY[fn], x)

    def binary(self, fn: str, a: str, b: str) -> str:
        """One node."""
        return self._node(BINARY[fn], a, b)

    def constant(self, array: NDArray[Any]) -> str:
        """An initializer."""
        name = f"constant_{len(self._initializers)}"
        self._initializers.append(numpy_helper.from_array(array, name))
        return name

    def concat(self, xs: Sequence[str], axis: int) -> str:
        """One node."""
        return xs[0] if len(xs) == 1 else self._node("Concat", *xs, axis=axis)

    def reshape(self, x: str, shape: Shape) -> str:
        """One node."""
        return self._node("Reshape", x, self._integers(shape))

    def expand(self, x: str, shape: Shape) -> str:
        """One node."""
        return self._node("Expand", x, self._integers(shape))

    def slice(self, x: str, axis: int, start: int, stop: int, step: int) -> str:
        """One node."""
        at = (self._integers((n,)) for n in (start, stop, axis, step))
        return self._node("Slice", x, *at)

    def reduce(self, fn: str, x: str, axes: Sequence[int], keepdims: bool) -> str:
        """One node."""
        return self._node(REDUCE[fn], x, self._integers(tuple(axes)), keepdims=int(keepdims))

    def softmax(self, x: str, axis: int) -> str:
        """One node."""
        return self._node("Softmax", x, axis=axis)

    def rnn(self, x: str, shape: Shape, w_x: Floats, w_h: Floats, bias: Floats, all_: bool) -> str:
        """ONNX's RNN, which wants time first."""
        rows, length, _ = shape
        hidden = w_h.shape[0]
        both = np.concatenate([bias, np.zeros_like(bias)])[None]
        weights = [self.constant(w) for w in (w_x[None], w_h[None], both)]
        time_first = self._node("Transpose", x, perm=[1, 0, 2])
        states, last = f"states_{len(self._nodes)}", f"last_{len(self._nodes)}"
        given, made = [time_first, *weights], [states if all_ else "", last]
        self._nodes.append(helper.make_node("RNN", given, made, hidden_size=hidden))
        if not all_:
            return self.reshape(last, (rows, hidden))
        moved = self._node("Transpose", states, perm=[2, 0, 1, 3])
        return self.reshape(moved, (rows, length, hidden))

    def _sum(self, table: str, indices: str, axis: int) -> str:
        return self.reduce("sum", self._node("Gather", table, indices), [axis], False)

    def _integers(self, values: Shape) -> str:
        return self.constant(np.array(values, np.int64))

    def _input(self, name: str, sort: int, shape: Sequence[int]) -> str:
        self._inputs.append(helper.make_tensor_value_info(name, sort, list(shape)))
        return name

    def _node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"{kind}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name


def indices_of(group: Group, number: int, split: bool, batch: Any) -> dict[str, NDArray[Any]]:
    """The index inputs of one group by name, as `OnnxGraph.pooled` declares them."""
    indices = group.indices(batch)
    if split:
        parts = (np.ascontiguousarray(indices[:, i]) for i in range(len(group.places)))
        return {f"indices_{number}_{i}": part for i, part in enumerate(parts)}
    return {f"indices_{number}": indices[:, :, 0] if group.length == 1 else indices}
