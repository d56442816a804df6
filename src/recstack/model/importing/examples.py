"""The example inputs: which argument is which, and the same inputs at another batch size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from recstack.batch import ScopeName
from recstack.errors import ModelError
from recstack.model.importing.inputs import Source
from recstack.model.importing.signature import Arguments


@dataclass(frozen=True, slots=True)
class RaggedGroup:
    """Bags given as values and offsets: positions of the arguments that hold them."""

    values: int
    offsets: int
    weights: int | None
    include_last_offset: bool


class Examples:
    """The user's example inputs, flattened; lists, tuples and dicts of tensors may nest.

    names: such as `dense`, `indices.0` or, in the dict `x`, `x.user` (`user` where that dict is the
    only argument); ragged: groups of arguments that hold ragged bags; batch: the batch size;
    single: arguments with one row (a single user's) beside a larger batch.
    """

    def __init__(self, module: Any, given: Arguments) -> None:
        self.tensors, self.spec = pytree.tree_flatten((given.args, given.kwargs))
        self.names = list(_leaf_names(given.named()))
        for name, tensor in zip(self.names, self.tensors, strict=True):
            _check_tensor(name, tensor)
        self.ragged = self._find_ragged(module)
        self.batch = self._batch_size()
        inside = {p for g in self.ragged for p in (g.values, g.offsets, g.weights)}
        self.single = {
            i
            for i, t in enumerate(self.tensors)
            if i not in inside and t.shape[0] == 1 and self.batch > 1
        }
        for i, t in enumerate(self.tensors):
            if i not in inside and i not in self.single and t.shape[0] != self.batch:
                raise ModelError(
                    f"expected {self.batch} rows (the batch size), got shape {tuple(t.shape)}",
                    f"example input {self.names[i]!r}",
                )

    def sources(self, user_inputs: Sequence[str]) -> list[Source]:
        """The arguments as the importer sees them; `user_inputs` are of user scope."""
        for name in user_inputs:
            if not any(_named(n, name) for n in self.names):
                raise ModelError(f"expected one of {self.names}, got {name!r}", "user_inputs")
        ragged = {p for g in self.ragged for p in (g.values, g.offsets, g.weights) if p is not None}
        lengths = {
            g.values: max(1, round(self.tensors[g.values].shape[-1] / max(self.batch, 1)))
            for g in self.ragged
        }
        out = []
        for i, (name, t) in enumerate(zip(self.names, self.tensors, strict=True)):
            user = any(_named(name, u) for u in user_inputs)
            if i in self.single and not user:
                raise ModelError(
                    f"expected {self.batch} rows, got 1; if it holds the query's user, add its "
                    "name to user_inputs",
                    f"example input {name!r}",
                )
            shape = () if i in ragged else tuple(t.shape[1:])
            integer = not t.dtype.is_floating_point
            scope: ScopeName = "user" if user else "item"
            truth = t.dtype == torch.bool
            out.append(Source(name, shape, integer, scope, i in ragged, lengths.get(i, 1), truth))
        return out

    def resized(self, batch: int) -> list[Any]:
        """The inputs with `batch` rows, the examples' rows over and over; flattened.

        Ragged arguments hold at least two values, because torch.export treats sizes 0 and 1 as
        special.
        """
        return self.rows(torch.arange(batch), least=2)

    def rows(self, numbers: Any, least: int = 0) -> list[Any]:
        """The inputs made of these rows of the examples, counted round and round."""
        batch, rows = len(numbers), numbers % max(self.batch, 1)
        out: list[Any] = list(self.tensors)
        inside: set[int | None] = set()
        for group in self.ragged:
            inside |= {group.values, group.offsets, group.weights}
        for i, t in enumerate(self.tensors):
            if i not in inside and i not in self.single:
                out[i] = t[rows] if self.batch else t.new_zeros((batch, *t.shape[1:]))
        for group in self.ragged:
            self._resize_bags(group, rows, out, least)
        return out

    def unflatten(self, tensors: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Flattened inputs as the module's positional and keyword arguments."""
        args, kwargs = pytree.tree_unflatten(list(tensors), self.spec)
        return args, kwargs

    def run(self, module: Any, tensors: Sequence[Any]) -> Any:
        """What the module returns for flattened inputs."""
        args, kwargs = self.unflatten(tensors)
        return module(*args, **kwargs)

    def sizes(self) -> set[int]:
        """All static sizes, to choose a batch size apart from them."""
        return {n for t in self.tensors for n in t.shape[1:]}

    def _find_ragged(self, module: Any) -> list[RaggedGroup]:
        watch = _WatchBags(self.tensors)
        try:
            with torch.no_grad(), watch:
                self.run(module, self.tensors)
        except ModelError:
            raise
        except Exception as error:
            raise ModelError(
                f"the module fails on the example inputs: {type(error).__name__}: {error}",
                "example_inputs",
            ) from error
        return watch.groups

    def _batch_size(self) -> int:
        if self.ragged:
            group = self.ragged[0]
            return int(self.tensors[group.offsets].shape[-1]) - group.include_last_offset
        found = Counter(t.shape[0] for t in self.tensors)
        if not found:
            raise ModelError("expected at least one tensor, got none", "example_inputs")
        return int(max(found, key=lambda n: (found[n] if n != 1 else 0, n)))

    def _resize_bags(self, group: RaggedGroup, rows: Any, out: list[Any], least: int) -> None:
        """Repeat whole bags; the last is replaced where there are fewer than `least` values."""
        offsets = self.tensors[group.offsets].reshape(-1, self.tensors[group.offsets].shape[-1])[0]
        values = self.tensors[group.values]
        ends = offsets[1:] if group.include_last_offset else _ends(offsets, values.shape[-1])
        starts = offsets[: len(ends)]
        known = self.batch > 0
        spans = [
            torch.arange(int(starts[r]) if known else 0, int(ends[r]) if known else 0) for r in rows
        ]
        if sum(len(s) for s in spans) < least:
            spans[-1] = torch.zeros(least, dtype=torch.int64)
            if values.shape[-1] == 0:
                values = values.new_zeros((*values.shape[:-1], 1))
        positions = torch.cat(spans)
        lengths = torch.tensor([0] + [len(s) for s in spans])
        made = lengths.cumsum(0).to(offsets.dtype)
        made = made if group.include_last_offset else made[:-1]
        out[group.offsets] = made.expand(*self.tensors[group.offsets].shape[:-1], -1).contiguous()
        out[group.values] = values[..., positions].contiguous()
        if group.weights is not None:
            weights = self.tensors[group.weights]
            if weights.shape[-1] == 0:
                weights = weights.new_ones((*weights.shape[:-1], 1))
            out[group.weights] = weights[..., positions].contiguous()


def _ends(offsets: Any, count: int) -> Any:
    return torch.cat([offsets[1:], offsets.new_tensor([count])])


def _named(name: str, given: str) -> bool:
    return name == given or name.startswith(given + ".")


def _leaf_names(named: Mapping[str, Any]) -> Iterator[str]:
    for name, item in named.items():
        if isinstance(item, list | tuple):
            yield from _leaf_names({f"{name}.{i}": part for i, part in enumerate(item)})
        elif isinstance(item, dict):
            inside = {f"{name}.{key}" if name else str(key): part for key, part in item.items()}
            yield from _leaf_names(inside)
        else:
            yield name


def _check_tensor(name: str, tensor: Any) -> None:
    where = f"example input {name!r}"
    if not isinstance(tensor, torch.Tensor):
        raise ModelError(
            "expected a tensor (or lists, tuples and dicts of them; a module around this one can "
            f"give other arguments their value), got {type(tensor).__name__}",
            where,
        )
    if tensor.ndim == 0:
        raise ModelError("expected a tensor with a batch axis, got one without axes", where)


_FUNCTIONAL = [
    "input",
    "weight",
    "offsets",
    "max_norm",
    "norm_type",
    "scale_grad_by_freq",
    "mode",
    "sparse",
    "per_sample_weights",
    "include_last_offset",
    "padding_idx",
]
_PLAIN = [
    "weight",
    "input",
    "offsets",
    "scale_grad_by_freq",
    "mode",
    "sparse",
    "per_sample_weights",
    "include_last_offset",
    "padding_idx",
]


def _bind(args: Any, kwargs: Any, names: Sequence[str]) -> dict[str, Any]:
    return {**dict(zip(names, args, strict=False)), **kwargs}


class _WatchBags(TorchFunctionMode):  # type: ignore[misc]
    """Notes which arguments reach an embedding bag as values, offsets and weights."""

    def __init__(self, tensors: Sequence[Any]) -> None:
        super().__init__()
        self.origin = {t.untyped_storage().data_ptr(): i for i, t in enumerate(tensors)}
        self.kept: list[Any] = []
        self.groups: list[RaggedGroup] = []

    def find(self, t: Any) -> int | None:
        """The argument that a tensor is, or views, or is a cast of."""
        if not isinstance(t, torch.Tensor):
            return None
        return self.origin.get(t.untyped_storage().data_ptr())

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name == "_pack_padded_sequence":
            raise ModelError(
                "expected padded sequences, got packed ones, whose sizes depend on the data; give "
                "the layer the padded tensor and take each row's last state, "
                "out[torch.arange(len(lengths)), lengths - 1]",
                "module",
            )
        if func is torch.nn.functional.embedding_bag:
            self._note(_bind(args, kwargs, _FUNCTIONAL))
        elif name == "embedding_bag":
            self._note(_bind(args, kwargs, _PLAIN))
        out = func(*args, **kwargs)
        if name in ("long", "int", "to", "clone", "contiguous", "float", "type", "clamp"):
            at = self.find(args[0]) if args else None
            if at is not None and isinstance(out, torch.Tensor):
                self.kept.append(out)  # keeps the storage's address from being used again
                self.origin.setdefault(out.untyped_storage().data_ptr(), at)
        return out

    def _note(self, given: dict[str, Any]) -> None:
        values, offsets = self.find(given.get("input")), self.find(given.get("offsets"))
        if values is not None and offsets is not None:
            weights = self.find(given.get("per_sample_weights"))
            last = bool(given.get("include_last_offset"))
            group = RaggedGroup(values, offsets, weights, last)
            if group not in self.groups:
                self.groups.append(group)
