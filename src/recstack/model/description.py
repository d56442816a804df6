"""What `model.json` holds, validated: inputs, ops in order, outputs."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from recstack.batch import Input
from recstack.errors import ModelError
from recstack.model.ops import AnyOp
from recstack.model.ops.base import Name

FORMAT_VERSION = 1


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


class ModelDescription(BaseModel):
    """A model without its weights: pure data, JSON both ways."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    format_version: Literal[1] = 1
    name: Name
    inputs: tuple[Input, ...]
    ops: tuple[AnyOp, ...]
    outputs: tuple[Name, ...] = Field(min_length=1)
    arguments: tuple[Argument, ...] = ()


def parse_description(data: Any, file: str = "model.json") -> ModelDescription:
    """A validated description from parsed JSON; ModelError names file and place of a fault."""
    version = data.get("format_version") if isinstance(data, dict) else None
    if isinstance(data, dict) and version != FORMAT_VERSION:
        raise ModelError(
            f"expected format_version {FORMAT_VERSION}, got {version!r}", f"{file}: format_version"
        )
    try:
        return ModelDescription.model_validate(data)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        got = fault.get("input")
        shown = "" if isinstance(got, dict | list | tuple) else f", got {got!r:.80}"
        raise ModelError(f"{fault['msg']}{shown}", f"{file}: {_place(fault['loc'])}") from None


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
