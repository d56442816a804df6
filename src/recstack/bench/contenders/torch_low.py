"""torch at low precision: quantised tables, then the dense part in bfloat16 or int8."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable
from typing import Any, Literal, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.nn import functional

from recstack.batch import Batch
from recstack.bench.contender import Setting
from recstack.bench.contenders.torch_form import TorchPeer, module_of
from recstack.bench.form import Group
from recstack.engine.torch_executor.weights import as_tensor
from recstack.model import Model

Lookup = Callable[[Tensor, Tensor], Tensor]
# Tables are quantised once per model and format, for all contenders of its cells.
_quantised: WeakKeyDictionary[Model, dict[tuple[int, str], Tensor]] = WeakKeyDictionary()


class TorchLow(TorchPeer):
    """One lookup per group of features, then the module's dense part at low precision."""

    dense: Literal["bf16", "int8"] = "bf16"

    def __init__(self, model: Model, setting: Setting) -> None:
        super().__init__(model, setting)
        self._offsets = [_offsets(group, setting.rows) for group in self.form.groups]
        self._lookups = [self.lookup(model, i, group) for i, group in enumerate(self.form.groups)]
        module = module_of(self.form, setting.rows, pooled_outside=True)
        self._forward = _bfloat16(module) if self.dense == "bf16" else _int8(module)
        self._dtype = torch.bfloat16 if self.dense == "bf16" else torch.float32

    def lookup(self, model: Model, i: int, group: Group) -> Lookup:
        """What pools a group: (indices, offsets) to (rows, features * dim)."""
        table = stored(model, i, group, "int8")
        width = len(group.places) * group.table.shape[1]
        call = torch.ops.quantized.embedding_bag_byte_rowwise_offsets

        def run(indices: Tensor, offsets: Tensor) -> Tensor:
            bags = call(table, indices, offsets, False, 0, False, None, None, True)
            return cast(Tensor, bags.view(-1, width))

        return run

    def stage(self, batch: Batch) -> list[Tensor]:
        """The dense columns in the module's dtype, and each group's indices, row by row."""
        indices = [as_tensor(group.indices(batch)).flatten() for group in self.form.groups]
        return [as_tensor(batch.dense).to(self._dtype), *indices]

    def run(self, staged: Any) -> Any:
        """Lookups, then the module's code."""
        dense, *indices = staged
        calls = zip(self._lookups, indices, self._offsets, strict=True)
        pooled = [run(i, offsets).to(self._dtype) for run, i, offsets in calls]
        return self._forward(dense, *pooled).float()


class TorchBf16(TorchLow):
    """torch eager: its int8 bags, the dense part in bfloat16 throughout."""

    name = "torch eager, int8 tables, bf16"


class TorchInt8(TorchLow):
    """torch eager: its int8 bags, linears quantised dynamically; the rest stays float32."""

    name = "torch eager, int8 tables and linears"
    dense = "int8"


def _offsets(group: Group, rows: int) -> Tensor:
    sort = torch.int32 if len(group.table) < 1 << 31 else torch.int64
    return torch.arange(rows * len(group.places) + 1, dtype=sort) * group.length


def stored(model: Model, i: int, group: Group, sort: str) -> Tensor:
    """The group's table (rows, row bytes), scale and bias behind each row."""
    made = _quantised.setdefault(model, {})
    if (i, sort) not in made:
        table = as_tensor(group.table)
        if sort == "int8":
            made[i, sort] = torch.ops.quantized.embedding_bag_byte_prepack(table)
        else:
            made[i, sort] = torch.ops.quantized.embedding_bag_4bit_prepack(table)
    return made[i, sort]


def _bfloat16(module: torch.fx.GraphModule) -> Callable[..., Tensor]:
    """The module with its weights and constants in bfloat16."""
    for node in module.graph.nodes:
        if node.op == "get_attr":
            owner, _, name = node.target.rpartition(".")
            holder = module.get_submodule(owner)
            value = getattr(holder, name)
            if torch.is_floating_point(value) and not isinstance(value, torch.nn.Parameter):
                setattr(holder, name, value.bfloat16())
    return cast(Callable[..., Tensor], module.bfloat16().forward)


def _int8(module: torch.fx.GraphModule) -> Callable[..., Tensor]:
    """The module with its linears quantised: weights per output channel, inputs per batch."""
    for i, node in enumerate(list(module.graph.nodes)):
        if node.target is not functional.linear:
            continue
        x, weight, bias = node.args if len(node.args) == 3 else (*node.args, None)
        packed = _packed(_value(module, weight), _value(module, bias))
        setattr(module, f"packed_{i}", packed)
        with module.graph.inserting_before(node):
            held = module.graph.create_node("get_attr", f"packed_{i}")
            call = module.graph.call_function(torch.ops.quantized.linear_dynamic, (x, held))
        node.replace_all_uses_with(call)
        module.graph.erase_node(node)
    module.graph.eliminate_dead_code()
    module.recompile()
    return cast(Callable[..., Tensor], module.forward)


def _value(module: torch.fx.GraphModule, node: Any) -> Any:
    return None if node is None else operator.attrgetter(node.target)(module).detach()


def _packed(weight: Tensor, bias: Tensor | None) -> Any:
    scale = weight.abs().amax(1).clamp_(min=1e-12).double() / 127
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates its own quantised tensors
        quantised = torch.quantize_per_channel(
            weight, scale, torch.zeros_like(scale, dtype=torch.int64), 0, torch.qint8
        )
    return torch.ops.quantized.linear_prepack(quantised, bias)
