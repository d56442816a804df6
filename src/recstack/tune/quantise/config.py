"""What a search of precision plans may choose from, and what it is to save."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from recstack.engine.precision import DenseFormat
from recstack.rows import RowFormat

Objective = Literal["latency", "memory"]
UNITS: dict[Objective, str] = {"latency": "ns", "memory": "bytes"}


class QuantiseConfig(BaseModel):
    """How to search.

    objective: what to save: time of a query of `rows` rows, or bytes.
    tables, layers: formats to choose from beside fp32.
    activations: int8 layers find the range of their inputs for every row, or have one from the
        search rows.
    least_share: the tables and layers that save least stay fp32, as many as together save less
        than this share of all cost.
    small_rows: search rows that sensitivities are measured on, of 32 queries or more.
    seed: of the split, the resamples and the timed inputs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    objective: Objective = "latency"
    rows: int = Field(default=64, ge=1)
    tables: tuple[RowFormat, ...] = (RowFormat.FP16, RowFormat.INT8, RowFormat.INT4)
    layers: tuple[DenseFormat, ...] = ("fp16", "bf16", "int8")
    activations: Literal["dynamic", "static"] = "dynamic"
    least_share: float = Field(default=0.005, ge=0, lt=1)
    small_rows: int = Field(default=4096, ge=1)
    seed: int = Field(default=0, ge=0)
