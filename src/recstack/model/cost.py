"""What a model costs, from shapes alone: every number here is modelled, none measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from math import prod
from typing import Any, Literal

from recstack.errors import ConfigError
from recstack.model.model import Model
from recstack.model.ops import Cross, EmbeddingBag, FeatureOp, Op
from recstack.model.ops.base import Cost, Shape, WeightShapes

Scope = Literal["user", "item", "const"]


@dataclass(frozen=True, slots=True)
class OpCost:
    """One op. All but parameters and weight_bytes are per entry of its scope: row or query.

    shape: of its result, without the leading axis.
    parameters: scalars of the weights that it reads, tables included.
    weight_bytes: the same in bytes; a weight that several ops read counts in each.
    flops: floating-point operations, a multiply-add as two.
    macs: multiply-adds with weight matrices alone, what papers call the FC work.
    lookups, gather_bytes: table rows and bytes read (expected, for ragged bags).
    activation_bytes: values read and written, were none kept in registers.
    """

    name: str
    kind: str
    scope: Scope
    shape: Shape
    parameters: int
    weight_bytes: int
    flops: int
    macs: int
    lookups: int
    gather_bytes: int
    activation_bytes: int


@dataclass(frozen=True, slots=True)
class Total:
    """Sums over the ops of one scope per entry, or over a batch."""

    flops: int
    macs: int
    lookups: int
    gather_bytes: int
    activation_bytes: int


@dataclass(frozen=True, slots=True)
class Description:
    """What a model costs.

    row, query: sums over item-scope ops per row and over user-scope ops per query; ops on constants
        alone run once, when a plan is made, and count in neither.
    batch: the sums for `rows` rows in `queries` queries.
    tables, table_bytes: different embedding tables; weight_bytes: all different weights.
    table_formats: how many tables are stored in each format.
    """

    model: str
    rows: int
    queries: int
    ops: tuple[OpCost, ...]
    parameters: int
    weight_bytes: int
    tables: int
    table_bytes: int
    table_formats: dict[str, int]
    row: Total
    query: Total
    batch: Total

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data that JSON can hold."""
        return {"origin": "modelled", **asdict(self)}


def describe(model: Model, rows: int = 1, queries: int = 1) -> Description:
    """What `model` costs, op by op and for a batch of `rows` rows in `queries` queries.

    Reads no weight, only their shapes. Raises ConfigError when rows or queries is negative.

    >>> from recstack.model import zoo
    >>> cost = describe(zoo.outline("rm2"), rows=64)
    >>> cost.row.lookups, cost.row.gather_bytes, cost.batch.lookups
    (3840, 983040, 245760)
    """
    if rows < 0 or queries < 0:
        raise ConfigError(f"expected rows and queries >= 0, got {rows} and {queries}")
    ops = tuple(_op_cost(op, model) for op in model.ops)
    row = _total(op for op in ops if op.scope == "item")
    query = _total(op for op in ops if op.scope == "user")
    return Description(
        model=model.name,
        rows=rows,
        queries=queries,
        ops=ops,
        parameters=sum(prod(s) for s in model.shapes.values()),
        weight_bytes=sum(w.nbytes for w in model.weights.values()),
        tables=len(model.table_formats),
        table_bytes=sum(model.weights[t].nbytes for t in model.table_formats),
        table_formats=dict(Counter(f.value for f in model.table_formats.values())),
        row=row,
        query=query,
        batch=Total(**{f: rows * getattr(row, f) + queries * getattr(query, f) for f in _SUMMED}),
    )


def _op_cost(op: Op, model: Model) -> OpCost:
    value, shapes = model.values[op.output], model.shapes
    if isinstance(op, FeatureOp):
        feature = next(i for i in model.sparse if i.name == op.inputs[0])
        cost, inputs = op.feature_cost(feature, value.shape, shapes), []
    else:
        inputs = [model.values[name].shape for name in op.inputs]
        cost = op.cost(inputs, value.shape, shapes)
    parameters = sum(prod(shapes[w]) for w in op.weights())
    return OpCost(
        name=op.output,
        kind=op.kind,
        scope=value.scope,
        shape=value.shape,
        parameters=parameters,
        weight_bytes=sum(model.weights[w].nbytes for w in op.weights()),
        flops=cost.flops,
        macs=_macs(op, inputs, cost, shapes),
        lookups=cost.lookups,
        gather_bytes=cost.lookups * model.row_bytes(op.table)
        if isinstance(op, EmbeddingBag)
        else 0,
        activation_bytes=cost.activation_bytes,
    )


def _macs(op: Op, inputs: list[Shape], cost: Cost, shapes: WeightShapes) -> int:
    """Multiply-adds of the op's weight matrices: their size times how often each is applied."""
    if op.kind in ("linear", "matmul"):
        return cost.flops // 2
    applied = {"attention_pooling": 1, "gru": 0, "augru": 0}.get(op.kind)
    if applied is not None:
        times = inputs[applied][0]
    elif isinstance(op, Cross) or op.kind == "gru_cell":
        times = 1
    else:
        return 0
    return times * sum(prod(shapes[w]) for w in op.weights() if len(shapes[w]) == 2)


_SUMMED = ("flops", "macs", "lookups", "gather_bytes", "activation_bytes")


def _total(ops: Iterable[OpCost]) -> Total:
    listed = list(ops)
    return Total(**{f: sum(getattr(op, f) for op in listed) for f in _SUMMED})
