"""What batches cost: the service time of a lane by rows, merged queries and co-running lanes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from recstack import _native
from recstack.errors import ConfigError
from recstack.files import write_whole
from recstack.types import Origin

Microseconds = Annotated[float, Field(gt=0.0, le=1e9)]


class Costs(BaseModel):
    """A cost curve as data; frozen, JSON on disk, a table of plan.toml.

    busy: counts of lanes that run at the same time, ascending from 1.
    service_us: for each of them, the time of a batch of 1, 2, 4, ... rows of one query.
    query_us: what each further query of a merged batch adds.
    idle_us: what a batch takes longer on a lane that stood idle for half a millisecond or more:
        caches and the core's clock have to come back.
    spread: equally likely multiples of that time, ascending; () for none. One for batches of all
        sizes, measured at an eighth of the largest: times of small ones spread wider in truth.
    origin: measured on a machine, or made up by a model.
    what: of which model, on how many threads, as text.

    >>> costs = Costs(busy=(1, 2), service_us=((10.0, 12.0, 16.0), (11.0, 13.0, 18.0)))
    >>> costs.largest_rows, costs.curve().service_ns(rows=3, queries=1, busy=2)
    (4, 15500)
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    busy: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = Field(min_length=1)
    service_us: tuple[tuple[Microseconds, ...], ...]
    query_us: float = Field(default=0.0, ge=0.0, le=1e6)
    idle_us: float = Field(default=0.0, ge=0.0, le=1e6)
    spread: tuple[Annotated[float, Field(gt=0.0, le=1e6)], ...] = ()
    origin: Origin = "measured"
    what: str = ""

    @model_validator(mode="after")
    def _shape(self) -> Self:
        if self.busy[0] != 1 or list(self.busy) != sorted(set(self.busy)):
            raise ValueError(f"expected busy to ascend from 1, got {self.busy}")
        lengths = {len(times) for times in self.service_us}
        if len(self.service_us) != len(self.busy) or len(lengths) != 1 or min(lengths) < 2:
            raise ValueError(
                f"expected {len(self.busy)} rows of service_us, of one length >= 2, "
                f"got lengths {[len(times) for times in self.service_us]}"
            )
        if list(self.spread) != sorted(self.spread):
            raise ValueError("expected an ascending spread")
        return self

    @property
    def largest_rows(self) -> int:
        """The largest batch that was measured."""
        return int(2 ** (len(self.service_us[0]) - 1))

    def curve(self) -> _native.CostCurve:
        """The native curve, a new one that learns on its own."""
        flat = [1e3 * us for times in self.service_us for us in times]
        return _native.CostCurve(list(self.busy), flat, 1e3 * self.query_us)

    def capacity_qps(self, mean_rows: float, lanes: int) -> float:
        """Queries per second that lanes could do at best, each lane in batches of `mean_rows`."""
        rows = max(math.ceil(mean_rows), 1)
        return lanes * 1e9 / self.curve().service_ns(rows, 1, lanes)

    def assumed(self, lanes: int) -> str:
        """What is not measured of so many lanes that run at the same time; "" where all is.

        >>> Costs(busy=(1, 2), service_us=((1.0, 2.0), (1.0, 2.0))).assumed(28)
        '28 lanes are taken to slow each other down no more than the 2 that were measured'
        """
        if lanes <= self.busy[-1]:
            return ""
        most = self.busy[-1]
        measured = f"the {most} that were measured" if most > 1 else "one, which was measured alone"
        return f"{lanes} lanes are taken to slow each other down no more than {measured}"

    def save(self, path: str | Path) -> None:
        """Write a JSON file, whole or not at all. Raises ConfigError when the disk refuses."""
        try:
            write_whole(Path(path), self.model_dump_json(indent=1) + "\n")
        except OSError as error:
            raise ConfigError(f"cannot write {path}: {error.strerror}") from error


def read_costs(path: str | Path) -> Costs:
    """The costs in a JSON file. Raises ConfigError that names file and place."""
    try:
        return Costs.model_validate_json(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{first['msg']} - at `{path}: {place}`") from None
