"""Which precision every table and every layer of a model has: as data, and as TOML."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import tomli_w

from recstack.engine import EngineConfig
from recstack.engine.precision import (
    ActivationRange,
    LayerPlan,
    LayerPrecision,
    check_plan,
    quantisable,
)
from recstack.errors import ConfigError
from recstack.files import write_whole
from recstack.model import Model
from recstack.rows import RowFormat

FORMAT = 1
HEADER = """\
# A precision plan: edit it and give it to `recstack quantize --plan`, or serve it.
# Tables: fp32, fp16, bf16, int8, int4, int2. Layers: fp32, fp16, bf16, int8, or in full
# { format = "int8", activations = [low, high], outliers = [columns] }: a range fixed beforehand
# (without it every row finds its own), and input columns that stay fp32.
"""
_LAYER_KEYS = {f.name for f in fields(LayerPrecision)}


@dataclass(frozen=True, slots=True)
class PrecisionPlan:
    """A format for every table and a precision for every layer; what is not named has the default.

    tables: by the table's weight name. greedy: search the range of int4 and int2 rows.
    layers: as the engine takes them.

    >>> plan = PrecisionPlan(RowFormat.INT8, {"users": RowFormat.FP16})
    >>> parse_plan(plan.to_toml()) == plan
    True
    """

    default_table: RowFormat = RowFormat.FP32
    tables: Mapping[str, RowFormat] = field(default_factory=dict)
    layers: LayerPlan = field(default_factory=LayerPlan)
    greedy: bool = True

    def table(self, name: str) -> RowFormat:
        """The format of a table."""
        return self.tables.get(name, self.default_table)

    def layer(self, name: str) -> LayerPrecision:
        """The precision of a layer."""
        return self.layers.layers.get(name, self.layers.default)

    def to_toml(self, notes: Mapping[str, str] | None = None) -> str:
        """The plan as text that a person can edit; notes: comments by table or layer."""
        notes = notes or {}
        lines = [
            HEADER,
            f"format = {FORMAT}",
            "",
            "[tables]",
            f'default = "{self.default_table}"',
            f"greedy = {str(self.greedy).lower()}",
            "",
            "[tables.formats]",
            *(_line(name, str(f), notes) for name, f in self.tables.items()),
            "",
            "[layers]",
            f'default = "{self.layers.default.format}"',
            "",
            "[layers.formats]",
            *(_line(name, _layer_value(p), notes) for name, p in self.layers.layers.items()),
        ]
        return "\n".join([*lines, ""])

    def save(self, path: str | Path, notes: Mapping[str, str] | None = None) -> None:
        """Write the file, whole or not at all. Raises ConfigError when the disk refuses."""
        try:
            write_whole(Path(path), self.to_toml(notes))
        except OSError as error:
            raise ConfigError(f"cannot write {path}: {error.strerror}") from error


def read_plan(path: str | Path) -> PrecisionPlan:
    """The plan in a file; ConfigError names file and place."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    return parse_plan(text, str(path))


def parse_plan(text: str, where: str = "plan") -> PrecisionPlan:
    """The plan in a TOML text; ConfigError names the place."""
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"expected TOML: {error} - at `{where}`") from None
    version = data.pop("format", None)
    if version != FORMAT:
        raise ConfigError(f"expected format = {FORMAT}, got {version!r} - at `{where}: format`")
    _known(data, {"tables", "layers"}, where)
    tables, layers = (_section(data, key, where) for key in ("tables", "layers"))
    _known(tables, {"default", "greedy", "formats"}, f"{where}: tables")
    _known(layers, {"default", "formats"}, f"{where}: layers")
    greedy = tables.get("greedy", True)
    if not isinstance(greedy, bool):
        raise ConfigError(f"expected true or false, got {greedy!r} - at `{where}: tables.greedy`")
    return PrecisionPlan(
        _row_format(tables.get("default", "fp32"), f"{where}: tables.default"),
        {
            name: _row_format(value, f"{where}: tables.formats.{name!r}")
            for name, value in _section(tables, "formats", f"{where}: tables").items()
        },
        LayerPlan(
            _layer(layers.get("default", "fp32"), f"{where}: layers.default"),
            {
                name: _layer(value, f"{where}: layers.formats.{name!r}")
                for name, value in _section(layers, "formats", f"{where}: layers").items()
            },
        ),
        greedy,
    )


def tables_of(model: Model) -> tuple[str, ...]:
    """Weight names of the tables that a plan for `model` may name, in the model's order."""
    return tuple(dict.fromkeys(op.weights()[0] for op in model.ops if op.kind == "embedding_bag"))


def apply(
    model: Model, plan: PrecisionPlan, config: EngineConfig | None = None
) -> tuple[Model, EngineConfig]:
    """`model` with its tables as the plan says, and `config` with its layers as the plan says.

    A table that is stored in the wanted format already stays as it is. Raises ConfigError for a
    table or layer that the model does not have, and for a table that would have to be made of a
    coarser one.
    """
    known = tables_of(model)
    if unknown := [name for name in plan.tables if name not in known]:
        raise ConfigError(
            f"expected a table of {model.name!r} ({', '.join(known)}) - at `tables.formats."
            f"{unknown[0]!r}`"
        )
    check_plan(plan.layers, model)
    stored = model.table_formats
    wanted = {name: plan.table(name) for name in known if plan.table(name) != stored[name]}
    for name, row_format in wanted.items():
        if stored[name] != RowFormat.FP32:
            raise ConfigError(
                f"expected table {name!r} in fp32, to make {row_format} of it, got "
                f"{stored[name]}: quantise the original model"
            )
    made = model.with_table_formats(wanted, greedy=plan.greedy) if wanted else model
    return made, (config or EngineConfig()).model_copy(update={"precision": plan.layers})


def uniform(model: Model, table: RowFormat | str, layer: str) -> PrecisionPlan:
    """One format for all tables and one for all layers of `model`, each named."""
    precision = LayerPrecision(layer)  # type: ignore[arg-type]
    return PrecisionPlan(
        tables=dict.fromkeys(tables_of(model), RowFormat(table)),
        layers=LayerPlan(layers=dict.fromkeys(quantisable(model), precision)),
    )


def describe_layer(precision: LayerPrecision) -> str:
    """A layer's precision in a few words."""
    extra = [] if precision.activations is None else ["static"]
    if precision.outliers:
        n = len(precision.outliers)
        extra.append(f"{n} column{'s' if n > 1 else ''} fp32")
    return ", ".join([precision.format, *extra])


def _line(name: str, value: str | dict[str, Any], notes: Mapping[str, str]) -> str:
    if isinstance(value, dict):
        parts = (f"{k} = {json.dumps(v)}" for k, v in value.items())
        line = f"{_key(name)} = {{ {', '.join(parts)} }}"
    else:
        line = f'{_key(name)} = "{value}"'
    note = " ".join(notes.get(name, "").split())
    return f"{line:<46} # {note}" if note else line


def _key(name: str) -> str:
    return tomli_w.dumps({name: 0}).rsplit("=", 1)[0].strip()


def _layer_value(p: LayerPrecision) -> str | dict[str, Any]:
    full: dict[str, Any] = {"format": p.format}
    if p.activations is not None:
        full["activations"] = [p.activations.low, p.activations.high]
    if p.outliers:
        full["outliers"] = list(p.outliers)
    return p.format if len(full) == 1 else full


def _layer(value: Any, where: str) -> LayerPrecision:
    if not isinstance(value, str | dict):
        raise ConfigError(f"expected a format or a table of keys, got {value!r} - at `{where}`")
    given: dict[str, Any] = {"format": value} if isinstance(value, str) else dict(value)
    _known(given, _LAYER_KEYS, where)
    if (span := given.pop("activations", None)) is not None:
        if not (isinstance(span, list) and len(span) == 2 and all(map(_is_number, span))):
            raise ConfigError(f"expected [low, high], got {span!r} - at `{where}.activations`")
        given["activations"] = ActivationRange(*map(float, span))
    outliers = given.get("outliers", [])
    if not (isinstance(outliers, list) and all(type(n) is int for n in outliers)):
        raise ConfigError(f"expected columns, got {outliers!r} - at `{where}.outliers`")
    try:
        return LayerPrecision(**{**given, "outliers": tuple(outliers)})
    except ConfigError as error:
        raise ConfigError(f"{error} - at `{where}`") from None


def _row_format(value: Any, where: str) -> RowFormat:
    try:
        return RowFormat(value)
    except ValueError:
        names = ", ".join(RowFormat)
        raise ConfigError(f"expected one of {names}, got {value!r} - at `{where}`") from None


def _section(data: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
    found = data.get(key, {})
    if not isinstance(found, dict):
        raise ConfigError(f"expected a table, got {found!r} - at `{where}: {key}`")
    return found


def _known(data: Mapping[str, Any], keys: set[str], where: str) -> None:
    if extra := sorted(set(data) - keys):
        raise ConfigError(
            f"expected the keys {', '.join(sorted(keys))}, got {extra[0]!r} - at `{where}`"
        )


def _is_number(value: Any) -> bool:
    return type(value) is float or (type(value) is int and abs(value) < 1 << 63)
