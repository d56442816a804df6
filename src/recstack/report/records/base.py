"""What every record has, and the values that several share."""

from __future__ import annotations

import re
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, PlainValidator, model_validator

from recstack.types import Origin

_SLA = re.compile(r"\s*p(\d+(?:\.\d+)?)\s*(?:<=|≤)\s*(\d+(?:\.\d+)?)\s*(ns|us|µs|ms|s)\s*")
_SLA_NS = {"ns": 1, "us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": 1_000_000_000}


class SLA(BaseModel):
    """`percentile` percent of the queries within `limit_ns`; written as `p95<=10ms`."""

    model_config = ConfigDict(frozen=True)
    percentile: float = Field(gt=0, lt=100)
    limit_ns: FiniteFloat = Field(gt=0)

    @model_validator(mode="before")
    @classmethod
    def _parse(cls, text: object) -> object:
        found = _SLA.fullmatch(text) if isinstance(text, str) else None
        if not found:
            raise ValueError(f"expected an SLA such as 'p95<=10ms', got {text!r}")
        percentile, limit, unit = found.groups()
        return {"percentile": float(percentile), "limit_ns": float(limit) * _SLA_NS[unit]}

    @property
    def share(self) -> float:
        """The percentile as a share."""
        return self.percentile / 100.0

    def __str__(self) -> str:
        unit = next(u for u in ("s", "ms", "µs", "ns") if self.limit_ns >= _SLA_NS[u] or u == "ns")
        return f"p{self.percentile:g}\u00a0≤\u00a0{self.limit_ns / _SLA_NS[unit]:g}\u00a0{unit}"


def _array(value: object) -> NDArray[np.int64]:
    if not isinstance(value, list):
        raise ValueError(f"expected an array of integers, got {type(value).__name__}")
    array = np.asarray(value)
    if array.size and (array.dtype != np.int64 or array.ndim != 1):
        raise ValueError(f"expected an array of integers, got {array.ndim}-d {array.dtype}")
    return array.astype(np.int64).reshape(-1)


Integers = Annotated[NDArray[np.int64], PlainValidator(_array)]


class Record(BaseModel):
    """What every sort has; keys that it does not know are left alone."""

    model_config = ConfigDict(frozen=True, extra="ignore", arbitrary_types_allowed=True)
    origin: Origin
