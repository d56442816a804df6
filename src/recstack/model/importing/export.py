"""torch.export of the user's module, with the batch size left open."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import torch

from recstack.errors import ModelError
from recstack.model.importing.examples import Examples


@dataclass(frozen=True)
class Exported:
    """An exported program; `batch_symbol` is the sympy symbol of the batch size."""

    program: Any
    batch_symbol: Any


def evaluated(module: Any) -> Any:
    """A copy of the module in eval mode and float32; shares the parameters that no call writes."""
    memo: dict[int, Any] = {}
    wide = []
    written = {id(m.weight) for m in module.modules() if getattr(m, "max_norm", None) is not None}
    written |= {id(t) for t in module.buffers()}
    for name, t in [*module.named_parameters(), *module.named_buffers()]:
        if t.dtype.is_floating_point and t.dtype != torch.float32:
            wide += [name] if t.dtype == torch.float64 else []
            new = t.detach().to(torch.float32)
            is_parameter = isinstance(t, torch.nn.Parameter)
            memo[id(t)] = torch.nn.Parameter(new, requires_grad=False) if is_parameter else new
        elif id(t) not in written:
            memo[id(t)] = t
    if wide:
        warnings.warn(
            f"{len(wide)} float64 parameters, such as {wide[0]!r}, are imported as float32",
            UserWarning,
            stacklevel=4,
        )
    return copy.deepcopy(module, memo).eval()


def export(module: Any, examples: Examples) -> Exported:
    """The module's graph; operators stay whole (no decompositions), none works in place."""
    taken = {n for p in module.parameters() for n in p.shape} | examples.sizes()
    batch = next(n for n in count(7) if n not in taken and n + 1 not in taken)
    tensors = examples.resized(batch)
    args, kwargs = examples.unflatten(tensors)
    shape_args, shape_kwargs = examples.unflatten(_dynamic_dims(examples))
    shapes = inspect.signature(module.forward).bind(*shape_args, **shape_kwargs).arguments
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with _plain_attention():
                program = torch.export.export(module, args, kwargs, dynamic_shapes=dict(shapes))
            if any(works_in_place(node) for node in program.graph.nodes):
                program = program.run_decompositions({})
        except Exception as error:
            lines = [line for line in str(error).splitlines() if line.strip()]
            raise ModelError(
                f"torch.export cannot trace the module with an open batch size ({_advice(error)}): "
                f"{type(error).__name__}: {' '.join(lines[:6])}",
                "module",
            ) from error
    return Exported(program, _batch_symbol(program, examples))


@contextmanager
def _plain_attention() -> Iterator[None]:
    """torch's attention layers as plain operators, not as one fused call of their own."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _advice(error: BaseException) -> str:
    """What to change in the module."""
    if "GuardOnDataDependentSymNode" in type(error).__name__:
        return "no size or branch may depend on a tensor's values: use torch.where, or a mask"
    return "sizes must come from x.shape, not len(x)"


def _dynamic_dims(examples: Examples) -> list[Any]:
    """For each flattened input, its open axes."""
    batch = torch.export.Dim("batch")
    dims: list[Any] = [
        None if i in examples.single else {0: batch} for i in range(len(examples.tensors))
    ]
    for group in examples.ragged:
        at = examples.tensors[group.offsets].ndim - 1
        dims[group.offsets] = {at: batch + 1 if group.include_last_offset else batch}
        values = dims[group.values]
        at = examples.tensors[group.values].ndim - 1
        if not isinstance(values, dict) or at not in values or values[at] is batch:
            values = {at: torch.export.Dim(f"values_{group.values}")}
        dims[group.values] = values
        if group.weights is not None:
            dims[group.weights] = {
                examples.tensors[group.weights].ndim - 1: next(iter(values.values()))
            }
    return dims


def works_in_place(node: Any) -> bool:
    """Whether a node of a graph changes one of its arguments."""
    schema = getattr(node.target, "_schema", None)
    return schema is not None and schema.is_mutable


def _batch_symbol(program: Any, examples: Examples) -> Any:
    """The symbol of the batch size, read off an input that has it whole."""
    names = program.graph_signature.user_inputs
    nodes = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    offsets = {g.offsets: g.include_last_offset for g in examples.ragged}
    ragged = {p for g in examples.ragged for p in (g.values, g.weights)}
    for i, name in enumerate(names):
        if i in ragged or i in examples.single or name not in nodes:
            continue
        size = nodes[name].meta["val"].shape[-1 if i in offsets else 0]
        if isinstance(size, torch.SymInt):
            expression = size.node.expr
            return next(iter(expression.free_symbols))
    raise ModelError("torch.export fixed the batch size; no input has an open one", "module")
