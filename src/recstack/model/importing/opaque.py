"""Operators that no translator covers: written down as data, and run by torch.

Only operators of the aten namespace run, looked up by their exact name; arguments are JSON.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from recstack.errors import MissingExtra, ModelError
from recstack.model.ops import Opaque

if TYPE_CHECKING:
    from recstack.model.importing.builder import Builder
    from recstack.model.importing.registry import Call
    from recstack.model.importing.values import Value

Array = NDArray[np.float32]
EXACT = 1 << 24


def run_opaque(
    op: Opaque, inputs: Sequence[Array], weights: Mapping[str, Array], entries: int
) -> Array:
    """The value of an opaque op, (entries, *entry_shape) float32.

    inputs: (entries, ...) float32 each, in the op's order. Raises ModelError when the operator is
    not one of aten's, fails, or gives another shape than was found at import.
    """
    try:
        import torch
    except ImportError:
        raise MissingExtra("torch", "torch") from None
    function = _function(torch, op.target)
    decode = _Decoder(torch, inputs, weights, entries, op.source)
    try:
        with torch.no_grad():
            args = [decode(a) for a in op.arguments]
            out = function(*args, **{k: decode(v) for k, v in op.keywords.items()})
            return _result(torch, op, out, entries)
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        MemoryError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        raise ModelError(f"torch cannot run {op.target}: {error}", op.source) from error


def _result(torch: Any, op: Opaque, out: Any, entries: int) -> Array:
    """The op's value from what the operator returned."""
    tensor = out[op.result] if isinstance(out, list | tuple) else out
    complex_result = tensor.is_complex()
    entry = op.entry_shape[:-1] if complex_result else op.entry_shape
    axis = op.result_axis
    if op.result_merged:
        tensor = tensor.unflatten(axis, (entries, entry[axis]))
    tensor = torch.view_as_real(tensor.resolve_conj()) if complex_result else tensor
    found: Array = tensor.movedim(axis, 0).to(torch.float32).contiguous().numpy()
    if found.shape != (entries, *op.entry_shape):
        got = f"expected shape {(entries, *op.entry_shape)} of {op.target}, got {found.shape}"
        raise ModelError(got, op.source)
    return found


def _function(torch: Any, target: str) -> Any:
    """The operator named `aten.name.overload`."""
    parts = target.split(".")
    known = len(parts) == 3 and parts[0] == "aten" and all(p.isidentifier() for p in parts)
    packet = getattr(torch.ops.aten, parts[1], None) if known else None
    function = getattr(packet, parts[2], None) if packet is not None else None
    if not isinstance(function, torch._ops.OpOverload):
        raise ModelError(f"expected an operator of the aten namespace, got {target!r}", "target")
    schema = function._schema
    reads_files = any("filename" in a.name for a in schema.arguments)
    if schema.is_mutable or reads_files:
        sort = "that reads files" if reads_files else "that works in place"
        raise ModelError(f"expected an operator of tensors, got {target!r} {sort}", "target")
    return function


def check_opaque(op: Opaque) -> None:
    """Raise ModelError unless torch is there and `op` names an operator that a model may run.

    Only functional operators may: none that writes to its arguments, and none that opens a file.
    """
    try:
        import torch
    except ImportError:
        raise MissingExtra("torch", "torch") from None
    _function(torch, op.target)
    named = {s["weight"] for s in _specs([op.arguments, op.keywords]) if "weight" in s}
    if missing := sorted(named - set(op.weight_names)):
        raise ModelError(f"expected a weight of weight_names, got {missing[0]!r}", op.output)


def _specs(value: Any) -> list[dict[str, Any]]:
    """Every object among JSON arguments."""
    if isinstance(value, dict):
        return [value, *_specs(list(value.values()))]
    if isinstance(value, list | tuple):
        return [spec for item in value for spec in _specs(item)]
    return []


class _Decoder:
    """JSON arguments as torch takes them."""

    def __init__(
        self,
        torch: Any,
        inputs: Sequence[Array],
        weights: Mapping[str, Array],
        entries: int,
        source: str,
    ) -> None:
        self.torch, self.inputs, self.source = torch, inputs, source
        self.weights, self.entries = weights, entries

    def __call__(self, spec: Any) -> Any:
        if isinstance(spec, list | tuple):
            return [self(s) for s in spec]
        if not isinstance(spec, dict):
            return spec
        if "rows" in spec:
            return spec["rows"] * self.entries
        if "range" in spec:
            return self.torch.arange(self.entries) * spec["range"]
        if "number" in spec:
            return float(spec["number"])
        if "input" in spec:
            return self._input(spec)
        if "weight" in spec:
            tensor = self.torch.from_numpy(np.array(self.weights[spec["weight"]]))
            return tensor.to(self._dtype(spec["dtype"])) if "dtype" in spec else tensor
        return self._dtype(spec["dtype"])

    def _input(self, spec: dict[str, Any]) -> Any:
        array = np.ascontiguousarray(self.inputs[spec["input"]], np.float32)
        whole = np.broadcast_to(array, (self.entries, *array.shape[1:]))
        tensor = self.torch.from_numpy(np.array(whole))
        name = spec.get("dtype", "float32")
        if name.startswith("int") and array.size and np.abs(array).max() >= EXACT:
            largest = int(np.abs(array).max())
            raise ModelError(
                f"expected integers below {EXACT}, which float32 holds exactly, got {largest}",
                self.source,
            )
        if name.startswith("complex"):
            tensor = self.torch.view_as_complex(tensor)
        axis = spec.get("axis", 0)
        tensor = tensor.movedim(0, axis)
        if spec.get("merged"):
            tensor = tensor.flatten(axis, axis + 1)
        return tensor if name == "float32" else tensor.to(self._dtype(name))

    def _dtype(self, name: str) -> Any:
        found = getattr(self.torch, name, None)
        if not isinstance(found, self.torch.dtype):
            raise ModelError(f"expected the name of a dtype, got {name!r}", "dtype")
        return found


def emit(b: Builder, call: Call, used: Sequence[int]) -> Value:
    """Opaque ops for the results `used` of a call; Unsupported where it cannot be written down."""
    from recstack.model.importing.values import (
        Merged,
        MixesRows,
        Rows,
        Unsupported,
        batch_axis,
        entry_of,
    )

    if not call.target.startswith("aten."):
        raise Unsupported("an operator outside the aten namespace")
    if call.function._schema.is_mutable:
        raise Unsupported("an operator that works in place")
    encode = _Encoder(b)
    schema = call.function._schema.arguments
    positional = [a.name for a in schema if a.name in call.given and not a.kwarg_only]
    arguments = tuple(encode(call.values[n]) for n in positional)
    others = [a.name for a in schema if a.name in call.given and a.kwarg_only]
    keywords = {n: encode(call.values[n]) for n in others}
    keywords = {n: v for n, v in keywords.items() if v is not None}
    results: list[Value] = [None] * len(call.dims)
    for i in used:
        dims = call.dims[i]
        axis = batch_axis(dims)
        if axis is None:
            raise MixesRows("its result has no batch axis")
        size = dims[axis]
        merged = not isinstance(size, int) and getattr(size, "times", 1) != 1
        shape = entry_of(dims, axis)
        complex_result = call.dtypes[i].startswith("complex")
        name = b.emit(
            Opaque,
            encode.inputs,
            target=call.target,
            arguments=arguments,
            keywords=keywords,
            result=i,
            result_axis=axis,
            result_merged=merged,
            entry_shape=(*shape, 2) if complex_result else shape,
            weight_names=tuple(encode.weights),
            source=call.source,
        )
        results[i] = Rows(name, shape, axis, Merged(after=int(merged)))
    many = len(call.function._schema.returns) > 1 or "[]" in str(
        call.function._schema.returns[0].type
    )
    return tuple(results) if many or len(results) != 1 else results[0]


class _Encoder:
    """Arguments of a call as JSON; collects the inputs and weights that they name."""

    def __init__(self, b: Builder) -> None:
        self.b = b
        self.inputs: list[str] = []
        self.weights: list[str] = []

    def __call__(self, v: Value) -> Any:
        from recstack.model.importing.values import BatchDim, Columns, Const, Rows, Steps

        if v is None or isinstance(v, bool | int | str):
            return v
        if isinstance(v, float):
            return v if math.isfinite(v) else {"number": str(v)}
        if isinstance(v, list | tuple):
            return [self(i) for i in v]
        if isinstance(v, Rows | Columns):
            return self._input(v)
        if isinstance(v, Const):
            return self._weight(v)
        if isinstance(v, BatchDim):
            return {"rows": v.times}
        if isinstance(v, Steps):
            return {"range": v.step}
        import torch

        from recstack.model.importing.values import Unsupported

        if isinstance(v, torch.dtype):
            return {"dtype": str(v).removeprefix("torch.")}
        if isinstance(v, torch.device | torch.layout | torch.memory_format):
            return None
        raise Unsupported(f"an argument that is a {type(v).__name__}")

    def _input(self, v: Value) -> dict[str, Any]:
        from recstack.model.importing.values import Unsupported

        rows = self.b.rows(v)
        dtype = rows.dtype
        if rows.name not in self.inputs:
            self.inputs.append(rows.name)
        spec: dict[str, Any] = {"input": self.inputs.index(rows.name)}
        if rows.axis:
            spec["axis"] = rows.axis
        if rows.merged.before:
            raise Unsupported("a tensor whose batch axis holds another axis before the batch")
        if rows.merged:
            spec["merged"] = True
        if dtype not in ("float32", "float64", "float16", "bfloat16"):
            spec["dtype"] = dtype
        return spec

    def _weight(self, v: Value) -> dict[str, Any]:
        name = self.b.weight(v)
        if name not in self.weights:
            self.weights.append(name)
        dtype = str(v.tensor.dtype).removeprefix("torch.")
        floating = dtype in ("float32", "float64", "float16", "bfloat16")
        return {"weight": name} if floating else {"weight": name, "dtype": dtype}
