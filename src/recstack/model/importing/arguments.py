"""A module's positional tensors as a batch of the imported model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recstack.batch import Batch, DenseInput, Input, SparseInput, pack_lengths
from recstack.errors import BatchError, ModelError
from recstack.model.description import Argument
from recstack.model.model import Model

Array = NDArray[Any]
EXACT = 1 << 24


class Bags:
    """The bags of one sparse input, as they are gathered from the arguments."""

    def __init__(self) -> None:
        self.values: Array | None = None
        self.offsets: Array | None = None
        self.weights: Array | None = None
        self.include_last = False


def batch_from_inputs(
    model: Model, inputs: Sequence[Any] | Mapping[str, Any], query_offsets: Any = None
) -> Batch:
    """The batch that holds the arguments `inputs` of an imported model's module.

    inputs: tensors or arrays, (R, ...) each, nested as the module takes them, in a tuple or, by
        keyword, a dict; a user-scope one has a row per query, or R rows that are the same
        throughout each query.
    query_offsets: (Q + 1,) rows of query q are query_offsets[q] : query_offsets[q + 1]; each row is
        a query of its own by default.
    Raises BatchError, naming the argument, when they do not fit; ModelError when the model was not
    imported.
    """
    if not model.arguments:
        raise ModelError("expected an imported model, got one without arguments", model.name)
    groups = _by_position(model.arguments)
    arrays = [_array(t) for t in _leaves(inputs, [g[0].name for g in groups])]
    if len(arrays) != len(groups):
        names = [g[0].name for g in groups]
        raise BatchError(f"expected {len(groups)} tensors {names}, got {len(arrays)}", "inputs")
    pairs = [(a, x) for group, x in zip(groups, arrays, strict=True) for a in group]
    items = {i.name: i for i in model.inputs}
    rows = _rows(pairs, items)
    offsets = np.arange(rows + 1) if query_offsets is None else np.asarray(query_offsets)
    if offsets.ndim != 1 or not offsets.size or offsets[0] != 0 or offsets[-1] != rows:
        raise BatchError(f"expected offsets from 0 to {rows}, got {offsets}", "query_offsets")
    dense: dict[str, Array] = {}
    bags: dict[str, Bags] = {i.name: Bags() for i in model.sparse}
    for argument, array in pairs:
        _gather(argument, array, items, offsets, dense, bags)
    return _pack(model.inputs, dense, bags, offsets.astype(np.int32))


def _leaves(item: Any, names: list[str], at: str | None = None) -> list[Any]:
    """Tensors in the order of `names`, of which the first is that of the first tensor.

    at: the name under which `item` stands; None where that is not known yet.
    """
    if isinstance(item, Mapping):
        parts = _in_order(item, names, at)
    elif isinstance(item, list | tuple):
        inside = [None if at is None else f"{at}.{i}" for i in range(len(item))]
        parts = list(zip(inside, item, strict=True))
    else:
        return [item]
    found: list[Any] = []
    for name, part in parts:
        found += _leaves(part, names[len(found) :], name)
    return found


def _in_order(
    item: Mapping[str, Any], names: list[str], at: str | None
) -> list[tuple[str | None, Any]]:
    """The values of a dict in the order in which their tensors stand in `names`."""
    pieces = names[0].split(".") if names else []
    tried = [at] if at is not None else ["", *(".".join(pieces[:n]) for n in (1, 2))]
    for prefix in tried:
        full = {f"{prefix}.{key}" if prefix else str(key): part for key, part in item.items()}
        first = {
            name: next(
                (i for i, n in enumerate(names) if n == name or n.startswith(name + ".")), -1
            )
            for name in full
        }
        if min(first.values(), default=0) >= 0:
            return [(name, full[name]) for name in sorted(full, key=first.__getitem__)]
    raise BatchError(f"expected the arguments {names}, got {list(item)}", "inputs")


def _array(tensor: Any) -> Array:
    detach = getattr(tensor, "detach", None)
    return np.asarray(tensor if detach is None else detach().cpu().numpy())


def _by_position(arguments: Sequence[Argument]) -> list[list[Argument]]:
    groups: list[list[Argument]] = []
    for a in arguments:
        if groups and groups[-1][0].name == a.name:
            groups[-1].append(a)
        else:
            groups.append([a])
    return groups


def _rows(pairs: Sequence[tuple[Argument, Array]], items: dict[str, Input]) -> int:
    """R, from an item-scope tensor; from the longest one where there is none."""
    found, unused = [], [0]
    for a, x in pairs:
        count = x.shape[-1] - a.include_last_offset if a.kind == "offsets" else x.shape[0]
        if a.kind == "unused" and a.width:
            unused.append(x.shape[0])
        if a.kind in ("values", "unused") or (a.kind == "weights" and not a.width):
            continue
        item = any(items[n].scope == "item" for n in a.inputs)
        found.append((item, int(count)))
    if not found:
        return max(unused)
    return next((n for item, n in found if item), max(n for _, n in found))


def _gather(
    a: Argument,
    x: Array,
    items: dict[str, Input],
    offsets: Array,
    dense: dict[str, Array],
    bags: dict[str, Bags],
) -> None:
    if a.kind == "unused":
        return
    ragged = a.kind in ("values", "offsets") or (
        a.kind == "weights" and not getattr(items[a.inputs[0]], "fixed", True)
    )
    if ragged:
        for i, name in enumerate(a.inputs):
            part = x[a.columns[i]] if a.columns else x
            setattr(bags[name], a.kind, part)
            bags[name].include_last |= a.include_last_offset
        return
    scope = items[a.inputs[0]].scope
    table = _entries(a, x, scope, offsets)
    if a.kind == "dense":
        spans = a.columns or (0, a.width)
        parts = [table[:, s:e] for s, e in zip(spans[::2], spans[1::2], strict=True)]
        dense[a.inputs[0]] = _as_float(a.name, np.concatenate(parts, axis=1))
        return
    for name, start, stop in zip(a.inputs, a.columns[::2], a.columns[1::2], strict=True):
        field = "values" if a.kind == "indices" else "weights"
        setattr(bags[name], field, table[:, start:stop])


def _entries(a: Argument, x: Array, scope: str, offsets: Array) -> Array:
    """The tensor as (entries, width): a user's rows are taken once per query."""
    rows, queries = int(offsets[-1]), len(offsets) - 1
    table = x.reshape(x.shape[0], -1) if x.size else x.reshape(x.shape[0], a.width)
    if table.shape[1] != a.width:
        raise BatchError(f"expected {a.width} columns per row, got shape {x.shape}", a.name)
    if scope == "item":
        if len(table) != rows:
            raise BatchError(f"expected {rows} rows, got {len(table)}", a.name)
        return table
    return once_per_query(a.name, table, offsets, rows, queries)


def once_per_query(name: str, x: Array, offsets: Array, rows: int, queries: int) -> Array:
    """The first row of each query; the others must be equal to it."""
    if len(x) == queries and (queries != rows or rows == 0):
        return x
    if len(x) != rows:
        raise BatchError(f"expected {queries} rows (one per query) or {rows}, got {len(x)}", name)
    starts = offsets[:-1]
    if (offsets[1:] == starts).any():
        raise BatchError("expected one row per query where a query has no rows", name)
    owner = np.repeat(np.arange(queries), np.diff(offsets))
    first = x[starts]
    wrong = np.flatnonzero((x != first[owner]).any(axis=tuple(range(1, x.ndim))))
    if wrong.size:
        raise BatchError(
            f"expected the same values in all rows of query {owner[wrong[0]]} (a user input), got "
            f"others in row {wrong[0]}",
            name,
        )
    return np.asarray(first)


def _as_float(name: str, x: Array) -> Array:
    if x.dtype.kind in "iu" and x.size and np.abs(x).max() > EXACT:
        raise BatchError(f"expected integers up to {EXACT} in a numeric input", name)
    return x.astype(np.float32)


def _pack(
    inputs: Sequence[Input], dense: dict[str, Array], bags: dict[str, Bags], offsets: Array
) -> Batch:
    rows, queries = int(offsets[-1]), len(offsets) - 1
    values, lengths, weights = [], [], []
    for item in inputs:
        if isinstance(item, SparseInput):
            one = _bag_arrays(item, bags[item.name], offsets)
            values.append(one[0])
            lengths.append(one[1])
            weights.append(one[2])
    flat = np.concatenate(values) if values else np.zeros(0, np.int32)
    wide = any(v.dtype == np.int64 for v in values)
    weighted = any(isinstance(i, SparseInput) and i.weighted for i in inputs)
    return Batch(
        dense=_beside(inputs, dense, "item", rows),
        user_dense=_beside(inputs, dense, "user", queries),
        values=flat.astype(np.int64) if wide else flat.astype(np.int32),
        lengths=pack_lengths(inputs, lengths),
        query_offsets=np.asarray(offsets, np.int32),
        weights=np.concatenate(weights).astype(np.float32) if weighted else None,
    )


def _beside(inputs: Sequence[Input], dense: dict[str, Array], scope: str, n: int) -> Array:
    parts = [dense[i.name] for i in inputs if isinstance(i, DenseInput) and i.scope == scope]
    joined = np.concatenate([np.zeros((n, 0), np.float32), *parts], axis=1)
    return np.ascontiguousarray(joined)


def _bag_arrays(item: SparseInput, bags: Bags, offsets: Array) -> tuple[Array, Array, Array]:
    """Values, lengths and weights of one sparse input."""
    values = bags.values
    assert values is not None
    if values.dtype.kind not in "iu":
        whole = values.astype(np.int64)
        if (whole != values).any():
            raise BatchError("expected whole numbers as indices", item.name)
        values = whole
    if item.fixed:
        lengths = np.full(len(values), item.length, np.int32)
    else:
        values, lengths, bags.weights = _ragged(item, bags, values, offsets)
    flat = values.reshape(-1)
    weights = np.ones(flat.shape, np.float32)
    if bags.weights is not None:
        weights = bags.weights.reshape(-1)
    return flat, lengths, weights


def _ragged(
    item: SparseInput, bags: Bags, values: Array, offsets: Array
) -> tuple[Array, Array, Array | None]:
    """Values, lengths and weights of ragged bags, once per query for a user's."""
    ends = bags.offsets
    assert ends is not None
    if not bags.include_last:
        ends = np.append(ends, values.size)
    if ends.size and (ends[0] != 0 or ends[-1] > values.size or (np.diff(ends) < 0).any()):
        raise BatchError(f"expected offsets from 0 to at most {values.size}", item.name)
    values = values[: ends[-1]]
    weights = None if bags.weights is None else bags.weights[: ends[-1]]
    lengths = np.diff(ends).astype(np.int32)
    rows, queries = int(offsets[-1]), len(offsets) - 1
    if item.scope == "user" and len(lengths) == rows and queries != rows:
        owner = np.repeat(np.arange(queries), np.diff(offsets))
        first = offsets[:-1][owner]
        for r in np.flatnonzero(first != np.arange(rows)):
            a, c = values[ends[r] : ends[r + 1]], values[ends[first[r]] : ends[first[r] + 1]]
            if not np.array_equal(a, c):
                raise BatchError(
                    f"expected the same bag in all rows of query {owner[r]} (a user input), got "
                    f"another in row {r}",
                    item.name,
                )
        keep = np.zeros(rows, bool)
        keep[offsets[:-1]] = True
        chosen = np.repeat(keep, lengths)
        values, lengths = values[chosen], lengths[keep]
        weights = None if weights is None else weights[chosen]
    return values, lengths, weights
