"""Which layer of the model as given an op of a rewritten model computes, and in which precision."""

from __future__ import annotations

from collections.abc import Mapping

from recstack.engine.native.hoist import ResumedLinear
from recstack.engine.native.rnn import Rnn
from recstack.engine.native.unit_sum import UnitSum
from recstack.engine.precision import LayerPrecision, layer_names
from recstack.model import Model
from recstack.model.ops import BatchNorm, Op, Unary


class Layers:
    """The layers of a model, and how each is to be computed.

    precisions: by the layer's name, as `check_plan` gives them.
    """

    def __init__(self, model: Model, precisions: Mapping[str, LayerPrecision]) -> None:
        self._makers = {op.output: op for op in model.ops}
        self._names = layer_names(model)
        self._of_weight = {
            w: self._names[op.output]
            for op in model.ops
            if op.output in self._names
            for w in op.weights()
        }
        self._precisions = precisions

    def layer(self, output: str) -> str:
        """The layer that ends in `output`: itself, or what a normalisation or activation follows.

        Passes fold both into the layer, which then has their output.
        """
        op = self._makers[output]
        while isinstance(op, BatchNorm | Unary):
            op = self._makers[op.inputs[0]]
        return self._names[op.output]

    def fusable(self, *outputs: str) -> bool:
        """Whether a unit of the layers that end in `outputs` has a kernel for their precisions.

        One format, or fp32 and int8 mixed; no outliers, since those are columns of what a unit
        never writes.
        """
        precisions = [self._precisions[self.layer(output)] for output in outputs]
        formats = {p.format for p in precisions}
        return not any(p.outliers for p in precisions) and (
            len(formats) == 1 or formats == {"fp32", "int8"}
        )

    def of_ops(self, rewritten: Model) -> dict[str, tuple[str, ...]]:
        """Output of every op of `rewritten` that computes a layer, or several -> their names."""
        hoisted = {op.inputs[1]: op.output for op in rewritten.ops if isinstance(op, ResumedLinear)}
        found = {
            op.output: self._origins(op, hoisted)
            for op in rewritten.ops
            if rewritten.values[op.output].scope != "const"
        }
        return {output: names for output, names in found.items() if names}

    def precisions_of(self, rewritten: Model) -> dict[str, LayerPrecision]:
        """The precision of every op of `rewritten` that computes a layer, or part of its input.

        An op that computes several has the first one's; those that it was have their own.
        """
        found = {out: self._precisions[names[0]] for out, names in self.of_ops(rewritten).items()}
        makers = {op.output: op for op in rewritten.ops}
        for op in rewritten.ops:
            if isinstance(op, UnitSum):
                found |= {name: self._precisions[self.layer(name)] for name in op.made_of}
            if isinstance(op, ResumedLinear):
                user = makers[op.inputs[1]]
                width = len(op.columns) + rewritten.values[user.inputs[0]].elements
                others = sorted(set(range(width)) - set(op.columns))
                whole = found[op.output]
                found[op.output] = whole.of_columns(op.columns)
                found[user.output] = whole.of_columns(others)
        return found

    def _origins(self, op: Op, hoisted: Mapping[str, str]) -> tuple[str, ...]:
        if isinstance(op, Rnn):
            return (self._of_weight[op.weight],)
        if isinstance(op, UnitSum):
            return tuple(self.layer(output) for output in op.made_of)
        output = hoisted.get(op.output, op.output)
        if output in self._names:
            return (self._names[output],)
        return (self.layer(output),) if op.kind == "linear" else ()
