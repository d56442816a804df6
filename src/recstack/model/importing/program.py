"""An exported program (a `.pt2` file) as a model, without the module's own code."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch

from recstack.errors import ModelError
from recstack.model.importing.coverage import ImportedModel
from recstack.model.importing.export import Exported, works_in_place
from recstack.model.importing.importer import import_exported
from recstack.model.importing.inputs import Source

_MOVES = ("select", "to", "_to_copy", "clone", "contiguous", "getitem", "unbind", "slice")


def import_program(program: Any, user_inputs: tuple[str, ...], name: str) -> ImportedModel:
    """See `from_exported`."""
    if isinstance(program, str | Path):
        path = Path(program)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                program = torch.export.load(path)
        except Exception as error:
            raise ModelError(f"torch cannot load it: {error}", str(path)) from error
    if not isinstance(program, torch.export.ExportedProgram):
        raise ModelError(f"expected an ExportedProgram, got {type(program).__name__}", "program")
    if any(works_in_place(node) for node in program.graph.nodes):
        program = program.run_decompositions({})
    names = list(program.graph_signature.user_inputs)
    for given in user_inputs:
        if given not in names:
            raise ModelError(f"expected one of {names}, got {given!r}", "user_inputs")
    nodes = {n.name: n for n in program.graph.nodes if n.op == "placeholder"}
    if unknown := [n for n in names if n not in nodes]:
        raise ModelError(f"expected tensors only, got {unknown[0]!r}", "program")
    ragged, offsets = _ragged(program.graph)
    symbol = _batch_symbol([nodes[n] for n in names], ragged, offsets)
    sources = []
    for n in names:
        shape = nodes[n].meta["val"].shape
        static = () if n in ragged or n in offsets else tuple(int(k) for k in shape[1:])
        integer = not nodes[n].meta["val"].dtype.is_floating_point
        scope = "user" if n in user_inputs else "item"
        inside = n in ragged or n in offsets
        truth = nodes[n].meta["val"].dtype == torch.bool
        sources.append(Source(n, static, integer, scope, inside, 1, truth))  # type: ignore[arg-type]
    return import_exported(Exported(program, symbol), sources, name)


def _ragged(graph: Any) -> tuple[set[str], dict[str, bool]]:
    """Names of ragged values and weights, and of offsets with whether they hold a last one."""
    values: set[str] = set()
    offsets: dict[str, bool] = {}
    for node in graph.nodes:
        if not str(node.target).startswith(("aten.embedding_bag", "aten._embedding_bag")):
            continue
        ends = _placeholder(node.args[2]) if len(node.args) > 2 else None
        if ends is None:
            continue
        offsets[ends] = bool(node.args[7]) if len(node.args) > 7 else False
        for i in (1, 6):
            found = _placeholder(node.args[i]) if len(node.args) > i else None
            values |= {found} if found else set()
    return values, offsets


def _placeholder(node: Any) -> str | None:
    """The argument that a node is, or is moved from."""
    while isinstance(node, torch.fx.Node) and node.op != "placeholder":
        target = node.target
        name = str(target).split(".")[1] if isinstance(target, torch._ops.OpOverload) else "getitem"
        if name not in _MOVES:
            return None
        node = node.args[0]
    return node.name if isinstance(node, torch.fx.Node) else None


def _batch_symbol(nodes: list[Any], ragged: set[str], offsets: dict[str, bool]) -> Any:
    """The one symbol in the batch axes of the arguments."""
    for node in nodes:
        if node.name not in ragged:
            size = node.meta["val"].shape[-1 if node.name in offsets else 0]
            if isinstance(size, torch.SymInt):
                return next(iter(size.node.expr.free_symbols))
    raise ModelError(
        "expected a program whose batch size is open: export it with dynamic_shapes", "program"
    )
