"""From an exported program to a model: its inputs, its graph's ops, its outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch.utils import _pytree as pytree

from recstack.errors import ModelError
from recstack.model.description import ModelDescription
from recstack.model.importing.builder import Builder
from recstack.model.importing.coverage import ImportedModel, summarise
from recstack.model.importing.export import Exported
from recstack.model.importing.inputs import Inputs, Source
from recstack.model.importing.passes import Graph, run_passes
from recstack.model.importing.values import (
    CELL,
    TRUTH,
    Columns,
    Const,
    Ragged,
    Unsupported,
    Value,
)
from recstack.model.importing.walk import Walker
from recstack.model.model import build

LONGEST_NAME = 200  # of an output


def import_exported(
    exported: Exported, sources: list[Source], name: str, copy: bool = True
) -> ImportedModel:
    """The model of an exported program whose user inputs are `sources`.

    The graph is walked twice: only then is it known which columns are looked up.
    """
    program = exported.program
    first, _ = _walk(exported, Builder(Inputs(sources), copy=False))
    builder = Builder(Inputs(sources), copy)
    builder.looked_up = first.builder.found
    walker, result = _walk(exported, builder)
    results = _results(program, result)
    outputs = [_output(builder, i, v) for i, (_, v) in enumerate(results)]
    graph = Graph(builder, outputs)
    run_passes(graph)
    graph.name_outputs([builder.fresh(name) if name else "" for name, _ in results])
    used = {n for op in graph.ops for n in op.inputs} | set(graph.outputs)
    inputs, arguments = builder.inputs.finish(used)
    description = ModelDescription(
        name=name,
        inputs=inputs,
        ops=tuple(graph.ops),
        outputs=tuple(graph.outputs),
        arguments=arguments,
    )
    read = {w for op in graph.ops for w in op.weights()}
    model = build(description, {n: a for n, a in builder.weights.items() if n in read})
    lines = summarise(walker.records, graph)
    return ImportedModel(model.description, model.weights, model.values, lines)


def _walk(exported: Exported, builder: Builder) -> tuple[Walker, Value]:
    sources, program = builder.inputs.sources, exported.program
    builder.reserve([s.name for s in sources])
    walker = Walker(exported, builder)
    result = walker.run(program.graph, _placeholders(program, sources), program.graph_module)
    return walker, result


def _placeholders(program: Any, sources: list[Source]) -> list[Value]:
    """A value for each placeholder: the program's parameters, then the module's arguments."""
    signature, position, out = program.graph_signature, 0, []
    first: dict[int, str] = {}
    for name, t in program.state_dict.items():
        first.setdefault(t.data_ptr(), name)
    held = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    for node in program.graph.nodes:
        if node.op != "placeholder":
            continue
        if node.name in held:
            name = held[node.name]
            tensor = program.state_dict.get(name, program.constants.get(name))
            out.append(Const(tensor.detach(), first.get(tensor.data_ptr(), name)))
        else:
            out.append(_argument(position, sources[position]))
            position += 1
    return out


def _argument(position: int, source: Source) -> Value:
    if source.ragged:
        return Ragged(position)
    columns = np.arange(source.width, dtype=np.int64).reshape(source.shape)
    cells = np.zeros((*source.shape, CELL), np.int64)
    cells[..., 0], cells[..., 1] = position, columns
    cells[..., 3] = TRUTH if source.truth else 0
    return Columns(cells, source.integer)


def _results(program: Any, result: Sequence[Value]) -> list[tuple[str, Value]]:
    """What the module returns, flat, with the names that its dicts have for it, else ""."""
    specs = program.graph_signature.output_specs
    kept = [v for v, spec in zip(result, specs, strict=True) if spec.kind.name == "USER_OUTPUT"]
    whole = pytree.tree_unflatten(range(len(kept)), program.call_spec.out_spec)
    paths = [path for path, _ in pytree.tree_flatten_with_path(whole)[0]]
    named = zip(map(_path_name, paths), kept, strict=True)
    return [(name, value) for name, value in named if value is not None]


def _path_name(path: Sequence[Any]) -> str:
    """`task.0` of {"task": (result, ...)}; "" of what no dict names, or at too great length."""
    if not path or isinstance(path[0], pytree.SequenceKey):
        return ""
    name = ".".join(map(_key_name, path))
    return name if len(name) <= LONGEST_NAME else ""


def _key_name(key: Any) -> str:
    if isinstance(key, pytree.MappingKey):
        return str(key.key)
    return key.name if isinstance(key, pytree.GetAttrKey) else str(key.idx)


def _output(builder: Builder, i: int, value: Value) -> str:
    builder.node = (-1, f"output_{i}")
    if isinstance(value, Const):
        return builder.constant(value)
    try:
        name = builder.rows(value).name
    except Unsupported as error:
        raise ModelError(str(error), f"outputs[{i}]") from None
    return name
