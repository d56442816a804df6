"""Labelled data: batches with what really happened, in one file that anybody can write.

A safetensors file holds the arrays of a `Batch` and the labels:

    dense, user_dense, values, lengths, query_offsets[, weights]    as in recstack.batch
    labels  (R, tasks) float32      what happened: 0 or 1, and NaN where it is not known
    groups  (Q,) int64, optional    who asked, such as a user id: queries of one group are not
                                    independent of each other

and, in the header's metadata, `format` = "recstack labelled 1", `inputs`, the model's inputs as
JSON, in their order: the arrays are packed for them, and `closed` = "true" where nobody but the
groups of the file will ask, and for no other candidates. A query is one request: where its
candidates were ranked together, they are its rows; where nothing is known about that, each row is a
query.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from recstack.batch import Batch, Input, check
from recstack.data.slices import slice_queries, take_queries
from recstack.errors import BatchError, DataError, first_fault

FORMAT = "recstack labelled 1"
REQUIRED = ("dense", "user_dense", "values", "lengths", "query_offsets", "labels")
OPTIONAL = ("weights", "groups")
_INPUTS: TypeAdapter[tuple[Input, ...]] = TypeAdapter(tuple[Input, ...])


@dataclass(frozen=True, slots=True, eq=False)
class LabelledData:
    """Queries, their labels, and who asked; checked on construction.

    inputs: of the model that the batch is packed for, in its order.
    labels: (R, tasks) float32, 0 or 1, NaN where unknown; a column per output of the model.
    groups: (Q,) int64; None: every query is independent of the others.
    closed: every user that there is asks here, and is asked of every candidate that there is for
        them: what an answer may cost is known then, whichever candidate turns out the positive one.
        Of a part that is not known.

    Raises DataError or BatchError, naming the place.

    >>> from recstack.data import random_batch
    >>> from recstack.model import zoo
    >>> model = zoo.outline("ncf")
    >>> batch = random_batch(model, rows=6, queries=2)
    >>> data = LabelledData(model.inputs, batch, np.zeros((6, 1), np.float32))
    >>> data.part(1, 2).labels.shape
    (3, 1)
    """

    inputs: tuple[Input, ...]
    batch: Batch
    labels: NDArray[np.float32]
    groups: NDArray[np.int64] | None = None
    closed: bool = False

    def __post_init__(self) -> None:
        check(self.inputs, self.batch)
        _check_array("labels", self.labels, np.float32, (self.rows, None))
        known = self.labels[~np.isnan(self.labels)]
        if not np.isin(known, (0, 1)).all():
            raise DataError("expected labels 0, 1 or NaN - at `labels`")
        if self.groups is not None:
            _check_array("groups", self.groups, np.int64, (self.queries,))

    @property
    def rows(self) -> int:
        """R, the number of labelled candidates."""
        return self.batch.rows

    @property
    def queries(self) -> int:
        """Q, the number of queries."""
        return self.batch.queries

    @property
    def row_groups(self) -> NDArray[np.int64]:
        """(R,) int64: who asked, for every row; the query's number where `groups` is None."""
        groups = np.arange(self.queries) if self.groups is None else self.groups
        return np.repeat(groups, np.diff(self.batch.query_offsets))

    def part(self, begin: int, end: int) -> LabelledData:
        """Queries [begin, end). Raises BatchError when out of range."""
        batch = slice_queries(self.batch, self.inputs, begin, end)
        first, last = (int(self.batch.query_offsets[q]) for q in (begin, end))
        groups = None if self.groups is None else self.groups[begin:end]
        return LabelledData(self.inputs, batch, self.labels[first:last], groups)

    def take(self, queries: NDArray[np.int64]) -> LabelledData:
        """The queries at these positions, in this order; copies. BatchError when out of range."""
        batch, rows = take_queries(self.batch, self.inputs, queries)
        groups = None if self.groups is None else self.groups[queries]
        return LabelledData(self.inputs, batch, self.labels[rows], groups)

    def halves(self, seed: int) -> tuple[LabelledData, LabelledData]:
        """Two parts of half the groups each, drawn at random; each keeps the queries' order."""
        groups = np.arange(self.queries) if self.groups is None else self.groups
        _, group = np.unique(groups, return_inverse=True)
        count = int(group.max(initial=-1)) + 1
        first = np.random.default_rng(seed).permutation(count)[: count // 2]
        chosen = np.isin(group, first)
        return self.take(np.flatnonzero(chosen)), self.take(np.flatnonzero(~chosen))

    def sample(self, rows: int, seed: int, queries: int = 1) -> LabelledData:
        """Whole queries drawn at random, in order, of about so many rows; all of fewer.

        queries: as many at least, however long they are.
        """
        if self.rows <= rows:
            return self
        order = np.random.default_rng(seed).permutation(self.queries)
        sizes = np.diff(self.batch.query_offsets)[order]
        count = max(int(np.searchsorted(np.cumsum(sizes), rows, side="right")), queries)
        return self.take(np.sort(order[:count]))

    def chunks(self, rows: int) -> Iterator[LabelledData]:
        """The data in order, in parts of about `rows` rows, whole queries each."""
        offsets, begin = self.batch.query_offsets, 0
        while begin < self.queries:
            end = int(np.searchsorted(offsets, int(offsets[begin]) + rows, side="right")) - 1
            end = min(max(end, begin + 1), self.queries)
            yield self.part(begin, end)
            begin = end

    def save(self, path: str | Path) -> None:
        """Write the file, whole or not at all. Raises DataError when the disk refuses."""
        target = Path(path)
        arrays = {name: getattr(self.batch, name) for name in (*REQUIRED[:5], "weights")}
        arrays |= {"labels": self.labels, "groups": self.groups}
        kept = {k: np.ascontiguousarray(v) for k, v in arrays.items() if v is not None}
        about = {"format": FORMAT, "inputs": _INPUTS.dump_json(self.inputs).decode()}
        if self.closed:
            about["closed"] = "true"
        partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
        try:
            save_file(kept, partial, metadata=about)
            partial.replace(target)
        except (OSError, SafetensorError) as error:
            raise DataError(f"{target}: cannot write: {error}") from error
        finally:
            with suppress(OSError):
                partial.unlink()


def read_labelled(path: str | os.PathLike[str], inputs: Sequence[Input]) -> LabelledData:
    """The labelled data in a file, for a model with these inputs.

    Raises DataError naming file and place: it cannot be read, an array is missing or does not fit,
    or it was packed for other inputs.
    """
    try:
        with safe_open(path, "np") as file:
            about, names = file.metadata() or {}, set(file.keys())
            if about.get("format") != FORMAT:
                raise DataError(f"{path}: expected format {FORMAT!r}, got {about.get('format')!r}")
            for name in sorted({*REQUIRED, *names}):
                if name not in names:
                    raise DataError(f"{path}: expected an array {name!r}, got none")
                if name not in REQUIRED + OPTIONAL:
                    raise DataError(f"{path}: expected no array {name!r}")
            arrays: dict[str, NDArray[Any]] = {name: file.get_tensor(name) for name in names}
        found = _INPUTS.validate_json(about.get("inputs", ""))
    except (OSError, SafetensorError, TypeError) as error:  # TypeError: a type that NumPy lacks
        raise DataError(f"{path}: cannot read: {error}") from error
    except ValidationError as error:
        raise DataError(f"{path}: {first_fault(error)[0]} - at `inputs`") from error
    _check_inputs(found, tuple(inputs), str(path))
    labels, groups = arrays.pop("labels"), arrays.pop("groups", None)
    try:
        return LabelledData(found, Batch(**arrays), labels, groups, _closed(about))
    except (DataError, BatchError) as error:
        raise DataError(f"{path}: {error}") from error


def _closed(about: Mapping[str, str]) -> bool:
    if (text := about.get("closed", "false")) not in ("true", "false"):
        raise DataError(f"expected true or false, got {text!r} - at `closed`")
    return text == "true"


def _check_inputs(found: Sequence[Input], wanted: Sequence[Input], where: str) -> None:
    """Raise DataError unless the file was packed for the inputs of the model."""
    for i, (got, want) in enumerate(zip(found, wanted, strict=False)):
        if got != want:
            raise DataError(
                f"{where}: expected data of the model's input {want!r}, got {got!r}"
                f" - at `inputs[{i}]`"
            )
    if len(found) != len(wanted):
        names = [item.name for item in wanted]
        raise DataError(f"{where}: expected the inputs {names}, got {[i.name for i in found]}")


def _check_array(
    name: str, array: NDArray[Any], dtype: type, shape: tuple[int | None, ...]
) -> None:
    fits = array.ndim == len(shape) and all(
        want in (None, got) for got, want in zip(array.shape, shape, strict=True)
    )
    if array.dtype != dtype or not fits:
        wanted = ", ".join("tasks" if n is None else str(n) for n in shape)
        raise DataError(
            f"expected ({wanted}) {np.dtype(dtype)}, got {array.shape} {array.dtype} - at `{name}`"
        )
