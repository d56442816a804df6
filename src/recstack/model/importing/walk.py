"""One pass over an exported graph: a translator for each call, or an opaque op that torch runs."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Any

import torch

from recstack.errors import ModelError
from recstack.model.importing import opaque
from recstack.model.importing.builder import Builder
from recstack.model.importing.export import Exported
from recstack.model.importing.registry import TRANSLATORS, Call
from recstack.model.importing.translators import load_all
from recstack.model.importing.values import (
    BatchDim,
    Columns,
    Const,
    MixesRows,
    OtherDim,
    PerIndex,
    Ragged,
    Rows,
    Steps,
    Unsupported,
    Value,
)

load_all()

_CHECKS = ("aten._assert", "aten.sym_constrain", "aten._assert_tensor_metadata")


@dataclass(slots=True)
class Record:
    """A call of the graph, for the coverage table."""

    target: str
    source: str
    reason: str = ""


@dataclass
class Walker:
    """Walks a graph; `records` tells afterwards what became of each call."""

    exported: Exported
    builder: Builder
    records: dict[int, Record] = field(default_factory=dict)
    constants: dict[str, Any] = field(default_factory=dict)

    def run(self, graph: Any, arguments: Sequence[Value], owner: Any) -> Value:
        """The value of the graph's output, given the values of its placeholders."""
        env: dict[Any, Value] = {}
        given = iter(arguments)
        for node in graph.nodes:
            if node.op == "placeholder":
                env[node] = next(given)
            elif node.op == "get_attr":
                found = getattr(owner, node.target)
                env[node] = Const(found) if isinstance(found, torch.Tensor) else found
            elif node.op == "output":
                return _mapped(node.args[0], env)
            else:
                env[node] = self._node(node, env)
        raise AssertionError("a graph without an output")

    def _node(self, node: Any, env: dict[Any, Value]) -> Value:
        args, kwargs = _mapped(node.args, env), _mapped(node.kwargs, env)
        if node.target is operator.getitem:
            return args[0][args[1]] if args[0] is not None else None
        meta = node.meta.get("val")
        if isinstance(meta, torch.SymInt | int | float | torch.SymBool | torch.SymFloat | bool):
            return self.dim(meta)
        if isinstance(node.target, torch._ops.HigherOrderOperator):
            return self._nested(node, args)
        call = self._bind(node, args, kwargs)
        if call.target.startswith(_CHECKS):
            return None
        number = len(self.records)
        self.records[number] = record = Record(call.target, call.source)
        self.builder.node = (number, node.name)
        return self._translate(call, record, node)

    def _translate(self, call: Call, record: Record, node: Any) -> Value:
        where = f"{call.target} ({call.source})"
        used = _used_results(node, call)
        if not _depends_on_batch(call):
            return _folded(call)
        try:
            translator = TRANSLATORS.get(call.operator)
            if translator is None:
                raise Unsupported("no translator")
            if any(d.startswith("complex") for d in (*call.dtypes, *_dtypes(call.values))):
                raise Unsupported("complex numbers")
            result = translator(self.builder, call)
            if isinstance(result, tuple) and any(result[i] is None for i in used):
                raise Unsupported("a result that no op gives")
            return typed(result, call.dtypes)
        except MixesRows as error:
            raise ModelError(
                f"the scores of a row would depend on other rows: {error}", where
            ) from None
        except (Unsupported, ModelError) as error:
            record.reason = str(error)
        try:
            return typed(opaque.emit(self.builder, call, used), call.dtypes)
        except (Unsupported, MixesRows) as error:
            reason = f"{record.reason}; and torch cannot run it as an opaque op: {error}"
            raise ModelError(f"this call cannot be imported: {reason}", where) from None

    def _nested(self, node: Any, args: Any) -> Value:
        """A region under `torch.no_grad` and the like: its body in place."""
        bodies = [a for a in args if isinstance(a, torch.fx.GraphModule)]
        name = str(node.target)
        if len(bodies) != 1 or not name.startswith("wrap_with"):
            raise ModelError("expected plain operators, got a higher-order one", name)
        return self.run(bodies[0].graph, args[args.index(bodies[0]) + 1 :], bodies[0])

    def _bind(self, node: Any, args: Any, kwargs: Any) -> Call:
        schema = node.target._schema
        values = {a.name: a.default_value for a in schema.arguments if a.has_default_value()}
        positional = [a.name for a in schema.arguments]
        values.update(zip(positional, args, strict=False))
        values.update(kwargs)
        meta = node.meta.get("val")
        results = list(meta) if isinstance(meta, list | tuple) else [meta]
        tensors = [t for t in results if isinstance(t, torch.Tensor)]
        return Call(
            target=str(node.target),
            function=node.target,
            values=values,
            dims=tuple(tuple(self.dim(n) for n in t.shape) for t in tensors),
            dtypes=tuple(str(t.dtype).removeprefix("torch.") for t in tensors),
            source=source_line(node),
            given=frozenset(positional[: len(args)]) | frozenset(kwargs),
        )

    def dim(self, size: Any) -> Value:
        """A symbolic size as a Dim; numbers stay."""
        if not isinstance(size, torch.SymInt):
            return size
        times = size.node.expr / self.exported.batch_symbol
        if times.is_Integer:
            return BatchDim(int(times))
        return int(size.node.expr) if size.node.expr.is_Integer else OtherDim(str(size.node.expr))


def _folded(call: Call) -> Value:
    """The call's result when nothing in it depends on the batch: run by torch now."""
    tensors = {k: _tensors(v) for k, v in call.values.items() if k in call.given}
    schema = call.function._schema.arguments
    args = [tensors[a.name] for a in schema if a.name in tensors and not a.kwarg_only]
    kwargs = {a.name: tensors[a.name] for a in schema if a.name in tensors and a.kwarg_only}
    with torch.no_grad():
        out = call.function(*args, **kwargs)
    return _constants(out)


def typed(v: Value, dtypes: Sequence[str]) -> Value:
    """`v` with torch's names of its types."""
    if isinstance(v, Rows):
        return replace(v, dtype=dtypes[0])
    if isinstance(v, tuple):
        return tuple(typed(i, [d]) for i, d in zip_longest(v, dtypes, fillvalue="float32"))
    return v


def _dtypes(values: Value) -> list[str]:
    return [v.dtype for v in _flat(values) if isinstance(v, Rows)]


def _depends_on_batch(call: Call) -> bool:
    sizes = [d for dims in call.dims for d in dims]
    symbolic = any(isinstance(d, BatchDim | OtherDim) for d in sizes)
    return symbolic or any(
        isinstance(v, Rows | Columns | Ragged | PerIndex | Steps) for v in _flat(call.values)
    )


def _tensors(v: Value) -> Any:
    if isinstance(v, Const):
        return v.tensor
    return [_tensors(i) for i in v] if isinstance(v, list | tuple) else v


def _constants(v: Any) -> Value:
    if isinstance(v, torch.Tensor):
        return Const(v)
    return tuple(_constants(i) for i in v) if isinstance(v, list | tuple) else v


def _flat(v: Value) -> list[Value]:
    if isinstance(v, dict):
        v = list(v.values())
    return [i for part in v for i in _flat(part)] if isinstance(v, list | tuple) else [v]


def _mapped(args: Any, env: dict[Any, Value]) -> Any:
    if isinstance(args, torch.fx.Node):
        return env[args]
    if isinstance(args, dict):
        return {k: _mapped(v, env) for k, v in args.items()}
    return [_mapped(a, env) for a in args] if isinstance(args, list | tuple) else args


def _used_results(node: Any, call: Call) -> list[int]:
    """Which results of a call are read; the one of a single-result call is number 0."""
    if isinstance(node.meta.get("val"), torch.Tensor):
        return [0]
    return sorted({u.args[1] for u in node.users if u.target is operator.getitem and u.users})


def source_line(node: Any) -> str:
    """Where the user's code made this call: `file.py:12: x = f(y)`."""
    trace = (node.meta.get("stack_trace") or "").strip().splitlines()
    places = [i for i, line in enumerate(trace) if line.strip().startswith("File ")]
    for i in reversed(places):
        parts = trace[i].strip().split('"')
        if len(parts) < 3:
            continue
        path = parts[1].replace("\\", "/")
        if "/torch/nn/" in path and i != places[0]:
            continue
        number = parts[2].split("line ")[1].split(",")[0] if "line " in parts[2] else "?"
        code = trace[i + 1].strip() if i + 1 < len(trace) else ""
        return f"{path.rsplit('/', 1)[-1]}:{number}: {code}"
    return ""
