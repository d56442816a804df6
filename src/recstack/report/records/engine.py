"""What batches take, beside floors and peers."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, FiniteFloat, StrictInt

from recstack.report.records.base import Record


class Roof(BaseModel):
    """A bandwidth that nothing of its sort exceeds: of a level, or of gathered table rows."""

    name: str
    gb_s: FiniteFloat = Field(gt=0)


class Roofline(Record):
    """A batch's work and time beside its floor, as `recstack.profile.roofline` makes it."""

    model: str
    rows: StrictInt = Field(gt=0)
    queries: StrictInt = Field(ge=0)
    threads: StrictInt = Field(gt=0)
    isa: str
    flops: StrictInt = Field(gt=0)
    bytes: StrictInt = Field(gt=0)
    measured_us: Annotated[FiniteFloat, Field(gt=0)] | None
    floor_us: FiniteFloat = Field(gt=0)
    bound: str
    peak_gflop_s: FiniteFloat = Field(gt=0)
    roofs: tuple[Roof, ...]

    @property
    def intensity(self) -> float:
        """FLOP per byte of weights and table rows."""
        return self.flops / self.bytes

    def gflop_s(self, us: float) -> float:
        """The rate that a time makes."""
        return self.flops / us / 1e3


class Contender(BaseModel):
    """One engine's time for one batch size; no time where it could not run, and why not."""

    contender: str
    status: str
    reason: str = ""
    us: Annotated[FiniteFloat, Field(gt=0)] | None = None


class Cell(Record):
    """Batches of `rows` rows through recstack, the first contender, and its peers."""

    model: str
    rows: StrictInt = Field(gt=0)
    threads: StrictInt = Field(gt=0)
    isa: str
    inputs: str
    found: tuple[Contender, ...] = Field(min_length=1)
