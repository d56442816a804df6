"""What `model.json` holds, validated: inputs, ops in order, outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from recstack.batch import Input
from recstack.errors import ModelError, first_fault
from recstack.model.ops import AnyOp
from recstack.model.ops.base import Name
from recstack.rows import RowFormat

# 2: tables may be stored in few bits. Written only where one is, so that others stay readable.
FORMAT_VERSIONS = (1, 2)


class Argument(BaseModel):
    """How one positional tensor of an imported module maps to inputs, for `batch_from_inputs`.

    A tensor that serves in two ways, or in none, has two entries, or one of kind unused; entries
    stand in the order of the module's arguments. A row of the tensor, flattened, has `width`
    columns.

    dense: a tensor (B, ...); `inputs[0]` takes all columns, or the ranges `columns`, side by side.
    indices: `inputs[i]` takes columns[2 * i] : columns[2 * i + 1] as the indices of each bag.
    values, offsets, weights: the ragged bags of the sparse inputs, in torch's spelling; where
        several are stacked in one tensor, `inputs[i]` has its row columns[i].
    weights of a fixed input: per-index weights, in the columns that `indices` would name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: Name
    kind: Literal["dense", "indices", "values", "offsets", "weights", "unused"]
    inputs: tuple[Name, ...] = ()
    columns: tuple[int, ...] = ()
    width: int = Field(default=0, ge=0)
    include_last_offset: bool = False


class StoredTable(BaseModel):
    """How a table that is not float32 is stored: its `format`, and `dim`, the columns of a row."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    format: RowFormat
    dim: int = Field(ge=0, lt=1 << 26)

    @field_validator("format")
    @classmethod
    def _not_plain(cls, format: RowFormat) -> RowFormat:
        if format is RowFormat.FP32:
            raise ValueError("expected a format other than fp32, which needs no entry")
        return format


class ModelDescription(BaseModel):
    """A model without its weights: pure data, JSON both ways.

    tables: the tables that are stored in another format than float32, by the name of their weight.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    format_version: Literal[1, 2] = 1
    name: Name
    inputs: tuple[Input, ...]
    ops: tuple[AnyOp, ...]
    outputs: tuple[Name, ...] = Field(min_length=1)
    arguments: tuple[Argument, ...] = ()
    tables: dict[Name, StoredTable] = {}

    def with_tables(self, tables: Mapping[str, StoredTable]) -> ModelDescription:
        """The same with these stored tables, in the first version of the format that has them."""
        return self.model_copy(update={"tables": dict(tables), "format_version": 1 + bool(tables)})


def parse_description(data: Any, file: str = "model.json") -> ModelDescription:
    """A validated description from parsed JSON; ModelError names file and place of a fault."""
    version = data.get("format_version") if isinstance(data, dict) else None
    if isinstance(data, dict) and not (type(version) is int and version in FORMAT_VERSIONS):
        raise ModelError(
            f"expected format_version 1 or 2, got {version!r}", f"{file}: format_version"
        )
    if version == 1 and data.get("tables"):
        raise ModelError("expected format_version 2 beside `tables`, got 1", f"{file}: tables")
    try:
        return ModelDescription.model_validate(data)
    except ValidationError as error:
        place = _place(error.errors(include_url=False)[0]["loc"])
        raise ModelError(first_fault(error)[0], f"{file}: {place}") from None


def _place(location: tuple[int | str, ...]) -> str:
    """`ops[3].embedding_bag.table` as the path in the JSON text: `ops[3].table`."""
    path, after_index = "", False
    for part in location:
        if isinstance(part, int):
            path, after_index = f"{path}[{part}]", True
        elif after_index and path.count("[") == 1 and path.endswith("]") and _is_tag(part):
            after_index = False
        else:
            path, after_index = (f"{path}.{part}" if path else part), False
    return path or "the top level"


def _is_tag(part: str) -> bool:
    """Whether pydantic put this part in as the name of a union's member."""
    return part in _TAGS


_TAGS = {"dense", "sparse"} | {
    str(member.model_fields["kind"].default) for member in AnyOp.__args__[0].__args__
}
