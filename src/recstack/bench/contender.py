"""What takes part in a benchmark: the contract, and what a contender is told."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from recstack.batch import Batch
from recstack.errors import RecstackError
from recstack.precision.plan import PrecisionPlan
from recstack.types import Scores


class Absent(RecstackError):
    """A contender's package is not installed."""


class Unsupported(RecstackError):
    """A contender cannot run this model, or cannot be held to this setting; says why."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What all contenders of one cell share.

    rows: rows of every batch, one query each. threads: threads of each contender.
    isa: instruction set that was asked for, "auto" for the fastest.
    cache: folder of compiled artifacts, made if absent. may_compile: whether what it lacks may be
        compiled, which takes minutes.
    """

    rows: int
    threads: int
    isa: str
    cache: Path
    may_compile: bool = True
    plan: PrecisionPlan | None = None


class Timed(Protocol):
    """What has turns on the clock."""

    def run(self, staged: Any) -> Any:
        """One run over a staged input: what is timed."""

    def turn(self) -> AbstractContextManager[object]:
        """Entered around a turn of many runs: threads and modes of the whole process."""


class Contender(Timed, Protocol):
    """One way to compute the scores of a model for batches of a fixed number of rows.

    `Contender(model, setting)` prepares it: it compiles, packs and loads whatever is wanted, with
    the tables read where they lie in the model. It raises Absent or Unsupported.
    """

    name: str

    def version(self) -> str:
        """Version of what does the work."""

    def stage(self, batch: Batch) -> Any:
        """The batch in the form that suits this contender; not timed. Later batches leave it be."""

    def scores(self, result: Any) -> Scores:
        """What `run` returned as (rows, outputs) float32; not timed."""
