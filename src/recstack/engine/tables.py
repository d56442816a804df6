"""Where the tables of a model lie while an engine runs it, and why there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from recstack.errors import ConfigError
from recstack.memory import available_bytes, huge_pages_available
from recstack.model import Model
from recstack.model.mapped import MappedWeights
from recstack.model.ops import EmbeddingBag
from recstack.model.zoo.fill import usable_cpus

Wanted = Literal["auto", "mapped", "huge"]
Kind = Literal["mapped", "huge", "shared"]
# Below this page walks mostly hit the caches and the first touch is soon over (LOG.md).
LEAST_HUGE_BYTES = 256 << 20
# What a copy leaves free at least: room for workspaces, requests and the page cache.
SPARE_SHARE = 0.1
SPARE_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Tables:
    """Where the tables lie.

    kind: mapped: in the model's files, page by page as they are used. huge: in memory that asked
        for huge pages, one copy for all engines of the model. shared: in the arrays that the model
        was made with.
    reason: why there, in a few words.
    """

    names: tuple[str, ...]
    kind: Kind
    reason: str


def table_names(model: Model) -> tuple[str, ...]:
    """The weights that are looked up by rows, each once."""
    return tuple(dict.fromkeys(op.table for op in model.ops if isinstance(op, EmbeddingBag)))


def find_place(model: Model, wanted: Wanted) -> Tables:
    """Where an engine of `model` would have its tables now; moves nothing.

    Raises ConfigError when `huge` is wanted and there is no memory for it.
    """
    names, weights = table_names(model), model.weights
    if not isinstance(weights, MappedWeights):
        return Tables(names, "shared", "the model's weights are in memory")
    if wanted != "mapped" and weights.copied(names):
        return Tables(names, "huge", "another engine of this model has them there")
    size = sum(weights[name].nbytes for name in names)
    return Tables(names, *choose(wanted, size, available_bytes(), huge_pages_available()))


def place_tables(model: Model, wanted: Wanted) -> tuple[Model, Tables]:
    """`model` with its tables where `find_place` says, and where that is.

    Raises ConfigError when there is no memory, ModelFileError when a file has been cut short.
    """
    tables, weights = find_place(model, wanted), model.weights
    if isinstance(weights, MappedWeights):
        weights.check_whole()
    if tables.kind != "huge" or not isinstance(weights, MappedWeights):
        return model, tables
    try:
        moved = weights.in_huge_pages(tables.names, usable_cpus())
    except MemoryError:
        size = sum(weights[name].nbytes for name in tables.names)
        raise ConfigError(_no_room(size, available_bytes())) from None
    return replace(model, weights={**weights, **moved}), tables


def drop_packed(model: Model, tables: Tables) -> None:
    """Let go of the mapped pages of what was packed or copied; `model` stays as it was."""
    weights = model.weights
    if isinstance(weights, MappedWeights):
        kept = set(tables.names) if tables.kind == "mapped" else set()
        weights.drop(name for name in weights if name not in kept)


def choose(wanted: Wanted, size: int, available: int, huge_pages: bool) -> tuple[Kind, str]:
    """Where `size` bytes of mapped tables are to lie, and why.

    available: bytes of free memory. huge_pages: whether the kernel gives them. Raises ConfigError
    when `huge` is wanted and does not fit.

    >>> choose("auto", 8 << 30, 20 << 30, True)
    ('huge', '8.6 GB of 21.5 GB free')
    """
    if wanted == "mapped":
        return "mapped", "asked for"
    if wanted == "huge":
        if size > available:
            raise ConfigError(_no_room(size, available))
        return "huge", "asked for" if huge_pages else "asked for; the kernel gives no huge pages"
    room = f"{size / 1e9:.1f} GB of {available / 1e9:.1f} GB free"
    if size < LEAST_HUGE_BYTES:
        return "mapped", f"tables under {LEAST_HUGE_BYTES >> 20} MiB gain nothing from huge pages"
    if not huge_pages:
        return "mapped", "the kernel gives no huge pages (transparent_hugepage is never)"
    if size > available - max(SPARE_BYTES, int(SPARE_SHARE * available)):
        return "mapped", f"a copy would take {room}"
    return "huge", room


def _no_room(size: int, available: int) -> str:
    return (
        f"expected tables that fit in {available / 1e9:.1f} GB of free memory, got "
        f"{size / 1e9:.1f} GB: use table_memory 'mapped' - at `EngineConfig.table_memory`"
    )
