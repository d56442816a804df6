"""The zoo's names, and what is made of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
from pydantic import ValidationError

from recstack.errors import ConfigError
from recstack.model.cost import describe
from recstack.model.description import ModelDescription
from recstack.model.model import Model
from recstack.model.model import build as build_model
from recstack.model.ops.base import Shape
from recstack.model.zoo import dcnv2, dien, din, dlrm, ncf, wide_deep
from recstack.model.zoo.fill import filled
from recstack.model.zoo.graph import Graph, Layout
from recstack.model.zoo.preset import Preset

RELEASED = "deeprecsys"  # the variant with the shapes of the artifact of DeepRecSys (ISCA 2020)
MAX_SEED = 1 << 64


@dataclass(frozen=True, slots=True)
class Family:
    """One name of the zoo: what it is, and its presets by variant (None: the default)."""

    summary: str
    presets: Mapping[str | None, Preset]


_FAMILIES = {
    "ncf": Family(
        "Neural collaborative filtering: GMF product beside an MLP",
        {None: ncf.PROPER, RELEASED: ncf.RELEASED},
    ),
    "rm1": Family("DLRM, few tables, 80 lookups each", {None: dlrm.RM1, RELEASED: dlrm.RM1}),
    "rm2": Family("DLRM, many tables, 120 lookups each", {None: dlrm.RM2, RELEASED: dlrm.RM2}),
    "rm3": Family("DLRM, large bottom MLP", {None: dlrm.RM3, RELEASED: dlrm.RM3}),
    "wnd": Family("Wide & Deep", {None: wide_deep.PROPER, RELEASED: wide_deep.RELEASED}),
    "mt-wnd": Family(
        "Multi-task Wide & Deep: a shared trunk and one tower per task",
        {None: wide_deep.MULTI_TASK_PROPER, RELEASED: wide_deep.MULTI_TASK_RELEASED},
    ),
    "din": Family(
        "Deep Interest Network: attention over 250 behaviours",
        {None: din.PROPER, RELEASED: din.RELEASED},
    ),
    "dien": Family(
        "Deep Interest Evolution Network: GRU and AUGRU over 40 behaviours",
        {None: dien.PROPER, RELEASED: dien.RELEASED},
    ),
    "dlrm-dcnv2": Family("MLPerf's DLRM-DCNv2: 26 tables, cross layers", {None: dcnv2.PROPER}),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the zoo's listing, at full size; a sample is one query of one row."""

    name: str
    variant: str | None
    summary: str
    tables: int
    table_bytes: int
    lookups: int
    gather_bytes: int
    macs: int
    outputs: int


def names() -> tuple[str, ...]:
    """The names that `build` knows.

    >>> names()[:3]
    ('ncf', 'rm1', 'rm2')
    """
    return tuple(_FAMILIES)


def variants(name: str) -> tuple[str | None, ...]:
    """The variants of a model; None is the default. Raises ConfigError for an unknown name.

    >>> variants("din")
    (None, 'deeprecsys')
    """
    return tuple(_family(name).presets)


def build(
    name: str,
    seed: int = 0,
    rows_scale: float = 1.0,
    variant: str | None = None,
    **overrides: Any,
) -> Model:
    """A model of the zoo with seeded weights, in memory of its own.

    name: one of `names()`.
    seed: 0 <= seed < 2**64; the same seed gives the same weights everywhere.
    rows_scale: factor on the rows of every table; a table keeps at least one row (dlrm-dcnv2: 3).
    variant: None for the model as its paper has it, "deeprecsys" for the released artifact's.
    overrides: fields of the model's preset, such as `lookups=20` or `user_scope_tables=4`.

    Every score is a probability. Raises ConfigError when an argument is unknown or wrong, or when
    the weights do not fit in memory.

    >>> model = build("rm1", rows_scale=1e-4, user_scope_tables=4)
    >>> [item.scope for item in model.sparse].count("user"), model.output_width
    (4, 1)
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < MAX_SEED:
        raise ConfigError(f"expected 0 <= seed < 2**64, got {seed!r}")
    layout = _layout(name, rows_scale, variant, overrides)
    return build_model(layout.description, filled(layout.weights, seed))


def description(
    name: str, rows_scale: float = 1.0, variant: str | None = None, **overrides: Any
) -> tuple[ModelDescription, dict[str, Shape]]:
    """What `build` would make, as data: the description and the shapes of the weights.

    >>> _, shapes = description("rm2")
    >>> shapes["tables.31"]
    (500000, 64)
    """
    layout = _layout(name, rows_scale, variant, overrides)
    return layout.description, {name: spec.shape for name, spec in layout.weights.items()}


def outline(
    name: str, rows_scale: float = 1.0, variant: str | None = None, **overrides: Any
) -> Model:
    """What `build` would make, with weights that are all zeros and take no memory.

    For what needs shapes alone: costs, random batches, listings.

    >>> outline("dlrm-dcnv2").weights["tables.0"].nbytes
    20480000000
    """
    data, shapes = description(name, rows_scale, variant, **overrides)
    zero = np.zeros((), np.float32)
    return build_model(data, {name: np.broadcast_to(zero, s) for name, s in shapes.items()})


def listing() -> tuple[Entry, ...]:
    """All models and variants with their sizes, without building any."""
    entries = []
    for name, family in _FAMILIES.items():
        for variant in family.presets:
            model = outline(name, variant=variant)
            cost = describe(model)
            entries.append(
                Entry(
                    name=name,
                    variant=variant,
                    summary=family.summary,
                    tables=cost.tables,
                    table_bytes=cost.table_bytes,
                    lookups=cost.row.lookups + cost.query.lookups,
                    gather_bytes=cost.row.gather_bytes + cost.query.gather_bytes,
                    macs=cost.row.macs + cost.query.macs,
                    outputs=model.output_width,
                )
            )
    return tuple(entries)


def _family(name: str) -> Family:
    if name not in _FAMILIES:
        raise ConfigError(f"expected a model of the zoo ({', '.join(_FAMILIES)}), got {name!r}")
    return _FAMILIES[name]


def _layout(
    name: str, rows_scale: float, variant: str | None, overrides: Mapping[str, Any]
) -> Layout:
    presets = _family(name).presets
    if variant not in presets:
        known = ", ".join(repr(v) for v in presets)
        raise ConfigError(f"expected a variant of {name} ({known}), got {variant!r}")
    if isinstance(rows_scale, bool) or not isfinite(rows_scale) or rows_scale <= 0:
        raise ConfigError(f"expected rows_scale > 0, got {rows_scale!r}")
    preset = _overridden(presets[variant], overrides, name)
    graph = Graph(name if variant is None else f"{name}-{variant}", rows_scale, preset.min_rows)
    return graph.finish(preset.assemble(graph))


def _overridden(preset: Preset, overrides: Mapping[str, Any], name: str) -> Preset:
    """`preset` with some fields changed; ConfigError names the field that is unknown or wrong."""
    if not overrides:
        return preset
    try:
        return type(preset).model_validate({**preset.model_dump(), **overrides})
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "extra_forbidden":
            known = ", ".join(type(preset).model_fields)
            raise ConfigError(f"expected one of {known} for {name}, got {field!r}") from None
        got = fault["input"]
        raise ConfigError(f"{name}: {fault['msg']}, got {got!r} - at `{field}`") from None
