"""A form as a torch module of straight-line code, which torch's three ways of running share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from recstack.batch import Batch
from recstack.bench.contender import Setting, Unsupported
from recstack.bench.form import Form, Pooled, form_of
from recstack.bench.recurrences import Rnn
from recstack.engine.torch_executor.steps import MAKERS
from recstack.engine.torch_executor.weights import Tensors, as_tensor
from recstack.model import Model
from recstack.types import Scores


class TorchPeer:
    """What the torch contenders share: one fused lookup, then the dense part, inputs as tensors.

    Inputs of `module`: dense (rows, columns); then per group of features indices (rows * features
    * length,), offsets (rows * features + 1,) and the table; a single lookup needs no offsets.
    """

    def __init__(self, model: Model, setting: Setting) -> None:
        self.setting = setting
        check_isa(setting.isa)
        self.form = form_of(model)
        self._constant = [_group_inputs(group, setting.rows) for group in self.form.groups]
        self.module = module_of(self.form, setting.rows)

    def version(self) -> str:
        """torch's version."""
        return str(torch.__version__)

    def stage(self, batch: Batch) -> list[Tensor]:
        """The module's inputs."""
        staged = [as_tensor(batch.dense)]
        for group, constant in zip(self.form.groups, self._constant, strict=True):
            indices = as_tensor(group.indices(batch))
            staged += [indices.flatten() if group.length > 1 else indices.squeeze(2), *constant]
        return staged

    def scores(self, result: Any) -> Scores:
        """The tensor's memory."""
        array: Scores = (result[0] if isinstance(result, list | tuple) else result).numpy()
        return array

    def turn(self) -> ExitStack:
        """As `torch_turn`."""
        return torch_turn(self.setting.threads)


def torch_turn(threads: int) -> ExitStack:
    """torch's threads, and inference mode entered once for the whole turn."""
    stack = ExitStack()
    torch.set_num_threads(threads)
    stack.enter_context(torch.inference_mode())
    return stack


def check_isa(isa: str) -> None:
    """Unsupported unless torch runs at `isa`, which is settled when it loads."""
    runs = torch.backends.cpu.get_cpu_capability().lower()
    if isa != "auto" and runs != isa:
        raise Unsupported(f"torch runs at {runs} here: set ATEN_CPU_CAPABILITY before it loads")


def _group_inputs(group: Any, rows: int) -> list[Tensor]:
    table = as_tensor(group.table)
    if group.length == 1:
        return [table]
    bags = rows * len(group.places)
    return [torch.arange(bags + 1, dtype=torch.int32) * group.length, table]


class _Parameters(Tensors):
    """Weights as parameters of a module, on the memory of the model."""

    def __init__(self, model: Model, owner: nn.Module) -> None:
        super().__init__(model, torch.device("cpu"), fuse_tables=False)
        self._owner = owner
        self._known: dict[str, nn.Parameter] = {}

    def __call__(self, name: str) -> Tensor:
        if name not in self._known:
            made = nn.Parameter(super().__call__(name), requires_grad=False)
            self._known[name] = made
            self._owner.register_parameter(f"weight_{len(self._known)}", made)
        return self._known[name]


class _Module(nn.Module):  # type: ignore[misc]
    """Steps over a dictionary of values; traced at once, so that the dictionary disappears."""

    def __init__(self, form: Form, rows: int, pooled_outside: bool) -> None:
        super().__init__()
        self._form, self._rows, self._outside = form, rows, pooled_outside
        parameters = _Parameters(form.model, self)
        self._runs = [_make(form, step, parameters) for step in form.steps]

    def forward(self, dense: Tensor, *given: Tensor) -> Tensor:
        values: dict[str, Tensor] = {}
        for item in self._form.model.dense:
            at = self._form.columns(item.name)
            only = len(self._form.model.dense) == 1
            values[item.name] = dense if only else dense[:, at]
        pooled = list(given) if self._outside else self._lookups(list(given))
        for step, run in zip(self._form.steps, self._runs, strict=True):
            if isinstance(step, Pooled):
                values[step.output] = self._part(step, pooled[step.group])
            else:
                values[step.output] = run(*[values[name] for name in step.inputs])
        outputs = self._form.model.outputs
        columns = [values[n].reshape(self._rows, -1) for n in outputs]
        return columns[0] if len(columns) == 1 else torch.cat(columns, 1)

    def _lookups(self, given: list[Tensor]) -> list[Tensor]:
        """(rows, features * dim) per group."""
        pooled = []
        for group in self._form.groups:
            indices = given.pop(0)
            offsets = given.pop(0) if group.length > 1 else None
            table = given.pop(0)
            if offsets is None:
                rows = functional.embedding(indices, table)
            else:
                rows = functional.embedding_bag(
                    indices, table, offsets, mode="sum", include_last_offset=True
                )
            pooled.append(rows.view(self._rows, len(group.places) * group.table.shape[1]))
        return pooled

    def _part(self, step: Pooled, pooled: Tensor) -> Tensor:
        """Some features of a group: (rows, count * dim), or (rows, count, dim)."""
        dim = self._form.groups[step.group].table.shape[1]
        if step.count < len(self._form.groups[step.group].places):
            pooled = pooled.narrow(1, step.first * dim, step.count * dim)
        return pooled if step.flat else pooled.view(self._rows, step.count, dim)


def module_of(form: Form, rows: int, pooled_outside: bool = False) -> torch.fx.GraphModule:
    """The form as straight-line code. pooled_outside: it takes each group's pooled rows instead.

    Raises Unsupported for an op that torch's steps lack.
    """
    made = _Module(form, rows, pooled_outside)
    graph = _Tracer(names_of(form, pooled_outside)).trace(made)
    return torch.fx.GraphModule(made, graph).eval()


class _Tracer(torch.fx.Tracer):  # type: ignore[misc]
    """Gives forward's variable arguments, which tracing would keep as one, a name each."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self._names = names

    def create_args_for_root(
        self, root_fn: Any, is_module: bool, concrete_args: Any = None
    ) -> tuple[Any, list[Any]]:
        """The function, and its arguments: the module and a placeholder for each name."""
        given = [self.create_proxy("placeholder", name, (), {}) for name in self._names]
        return root_fn, [self.root, *given]


def names_of(form: Form, pooled_outside: bool = False) -> list[str]:
    """Names of the module's inputs, in order."""
    names = ["dense"]
    for i, group in enumerate(form.groups):
        if pooled_outside:
            names.append(f"pooled_{i}")
        else:
            names.append(f"indices_{i}")
            names += [f"offsets_{i}"] if group.length > 1 else []
            names.append(f"table_{i}")
    return names


def _make(form: Form, step: Any, tensors: Tensors) -> Callable[..., Tensor]:
    if isinstance(step, Pooled):
        return _never
    if isinstance(step, Rnn):
        return _rnn(form, step, tensors)
    if type(step) not in MAKERS:
        raise Unsupported(f"op {step.kind!r} is not one of torch's steps")
    return MAKERS[type(step)](step, tensors, _shapes(form, step.inputs))


def _never(*inputs: Tensor) -> Tensor:
    raise AssertionError("pooled rows are read in place")


def _shapes(form: Form, names: Sequence[str]) -> list[tuple[int, ...]]:
    """Entry shapes of the inputs of a step."""
    shapes = []
    for name in names:
        pooled = next((s for s in form.steps if isinstance(s, Pooled) and s.output == name), None)
        if pooled is None:
            shapes.append(form.model.values[name].shape)
        else:
            dim = form.groups[pooled.group].table.shape[1]
            shapes.append((pooled.count * dim,) if pooled.flat else (pooled.count, dim))
    return shapes


def _rnn(form: Form, step: Rnn, tensors: Tensors) -> Callable[..., Tensor]:
    """torch.rnn_tanh, its two weights cut out of the one that reads (x, h)."""
    weight, bias = form.model.weights[step.weight], tensors(step.bias)
    hidden = weight.shape[0]
    from_x, from_h = np.split(weight, [weight.shape[1] - hidden], axis=1)
    w_x, w_h = (torch.tensor(np.ascontiguousarray(w)) for w in (from_x, from_h))
    none = torch.zeros_like(bias)

    def run(x: Tensor) -> Tensor:
        start = x.new_zeros(1, x.shape[0], hidden)
        weights = [w_x, w_h, bias, none]
        states, last = torch.rnn_tanh(x, start, weights, True, 1, 0.0, False, False, True)
        return states if step.sequence else last.squeeze(0)

    return run
