"""The module's arguments, and the inputs of the model that are made from them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from recstack.batch import DenseInput, Input, ScopeName, SparseInput
from recstack.model.description import Argument
from recstack.model.importing.values import Ragged
from recstack.model.ops.base import Shape

Kind = Literal["dense", "indices", "values", "offsets", "weights", "unused"]


@dataclass(frozen=True, slots=True)
class Source:
    """One positional tensor of the module.

    shape: without the batch axis; () for a ragged argument.
    length: expected indices per bag, for ragged values. truth: it holds truth values.
    """

    name: str
    shape: Shape
    integer: bool
    scope: ScopeName = "item"
    ragged: bool = False
    length: int = 1
    truth: bool = False

    @property
    def width(self) -> int:
        """Columns of a row, flattened."""
        width = 1
        for n in self.shape:
            width *= n
        return width


@dataclass(slots=True)
class _Use:
    """One way in which an argument serves."""

    argument: int
    kind: Kind
    include_last_offset: bool = False
    features: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)


class Inputs:
    """Makes an input once for each distinct use of an argument."""

    def __init__(self, sources: list[Source]) -> None:
        self.sources = sources
        self._inputs: dict[str, Input] = {}
        self._order: dict[str, tuple[int, int]] = {}
        self._keys: dict[object, str] = {}
        self._uses: dict[tuple[int, Kind, bool], _Use] = {}

    def sparse(self, name: str) -> SparseInput:
        """The sparse input of this name."""
        item = self._inputs[name]
        assert isinstance(item, SparseInput)
        return item

    def dense(self, argument: int) -> DenseInput:
        """All columns of an argument as numbers."""
        key, source = ("dense", argument), self.sources[argument]
        if key not in self._keys:
            name = self._unique(source.name)
            item = DenseInput(name=name, width=source.width, scope=source.scope)
            self._add(key, item, (argument, 0))
            self._use(argument, "dense").features.append((name, ()))
        item_ = self._inputs[self._keys[key]]
        assert isinstance(item_, DenseInput)
        return item_

    def columns(
        self, argument: int, start: int, stop: int, weights: tuple[int, int] | None = None
    ) -> SparseInput:
        """Columns start:stop of an argument as bags of fixed length, weighted by other columns."""
        key, source = (argument, start, stop, weights), self.sources[argument]
        if key not in self._keys:
            name = source.name
            if stop - start == 1 and source.width > 1:
                name = f"{name}.{start}"
            elif stop - start < source.width:
                name = f"{name}.{start}-{stop - 1}"
            item = SparseInput(
                name=self._unique(name),
                length=stop - start,
                scope=source.scope,
                fixed=True,
                weighted=weights is not None,
            )
            self._add(key, item, (argument, start))
            self._use(argument, "indices").features.append((item.name, (start, stop)))
            if weights is not None:
                other, at = weights
                span = (at, at + stop - start)
                self._use(other, "weights").features.append((item.name, span))
        return self.sparse(self._keys[key])

    def ragged(
        self, values: Ragged, offsets: Ragged, weights: Ragged | None, include_last: bool
    ) -> SparseInput:
        """Ragged bags as a sparse input."""
        key, source = (values, offsets, weights), self.sources[values.argument]
        if key not in self._keys:
            row = "" if values.row is None else f".{values.row}"
            item = SparseInput(
                name=self._unique(source.name + row),
                length=source.length,
                scope=source.scope,
                weighted=weights is not None,
            )
            self._add(key, item, (values.argument, values.row or 0))
            for part, kind, last in (
                (values, "values", False),
                (offsets, "offsets", include_last),
                (weights, "weights", False),
            ):
                if part is not None:
                    at = () if part.row is None else (part.row,)
                    use = self._use(part.argument, kind, last)  # type: ignore[arg-type]
                    use.features.append((item.name, at))
        return self.sparse(self._keys[key])

    def finish(self, used: Iterable[str]) -> tuple[tuple[Input, ...], tuple[Argument, ...]]:
        """The inputs that ops read, in the arguments' order, and how arguments map to them."""
        kept = set(used) & set(self._inputs)
        names = sorted(kept, key=lambda n: self._order[n])
        arguments = []
        for i, source in enumerate(self.sources):
            records = [self._record(u, kept) for u in self._uses.values() if u.argument == i]
            found = [r for r in records if r is not None]
            arguments += found or [
                Argument(
                    name=source.name, kind="unused", width=0 if source.ragged else source.width
                )
            ]
        return tuple(self._inputs[n] for n in names), tuple(arguments)

    def keep_columns(self, name: str, ranges: tuple[int, ...]) -> None:
        """Leave only the columns `ranges` (start, stop, start, stop ...) in a dense input."""
        item = self._inputs[name]
        assert isinstance(item, DenseInput)
        width = sum(ranges[1::2]) - sum(ranges[0::2])
        self._inputs[name] = item.model_copy(update={"width": width})
        argument = self._order[name][0]
        self._use(argument, "dense").features[:] = [(name, ranges)]

    def mixed(self) -> list[str]:
        """Dense inputs of arguments that also hold indices."""
        looked_up = {u.argument for u in self._uses.values() if u.kind != "dense"}
        return [
            n
            for u in self._uses.values()
            if u.kind == "dense" and u.argument in looked_up
            for n, _ in u.features
        ]

    def _record(self, use: _Use, kept: set[str]) -> Argument | None:
        features = [f for f in use.features if f[0] in kept]
        if not features:
            return None
        source = self.sources[use.argument]
        return Argument(
            name=source.name,
            kind=use.kind,
            inputs=tuple(n for n, _ in features),
            columns=tuple(c for _, span in features for c in span),
            width=0 if source.ragged else source.width,
            include_last_offset=use.include_last_offset,
        )

    def _use(self, argument: int, kind: Kind, include_last: bool = False) -> _Use:
        key = (argument, kind, include_last)
        return self._uses.setdefault(key, _Use(argument, kind, include_last))

    def _add(self, key: object, item: Input, order: tuple[int, int]) -> None:
        self._keys[key] = item.name
        self._inputs[item.name] = item
        self._order[item.name] = order

    def _unique(self, name: str) -> str:
        candidate, n = name, 2
        while candidate in self._inputs:
            candidate, n = f"{name}:{n}", n + 1
        return candidate
