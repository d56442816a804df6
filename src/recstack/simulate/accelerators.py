"""What batches cost on an accelerator that is not here: recorded curves, with their origin."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from recstack.errors import ConfigError, first_fault
from recstack.files import write_whole
from recstack.schedule import Costs
from recstack.types import Origin

RECORDED = Path(__file__).parent / "recorded"
VARIANT = "-deeprecsys"


class Accelerator(BaseModel):
    """Cost curves of one device, by model; frozen, JSON on disk.

    name: of the device. origin: "measured" on one, or "simulated" from figures about it.
    source: where the figures are from. assumed: what is not known and was taken to be so.
    watts: its power under load, where that is known.
    over: by model, the measured CPU curve that simulated figures were taken over; of one lane.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    origin: Origin
    source: str
    assumed: tuple[str, ...] = ()
    watts: float | None = Field(default=None, gt=0.0)
    costs: dict[str, Costs]
    over: dict[str, Costs] = {}

    def of(self, model: str) -> Costs:
        """The curve of a model; of the released artifact's shapes where there is no nearer one.

        Raises ConfigError that names the models there are.
        """
        for name in (model, model.removesuffix(VARIANT)):
            if name in self.costs:
                return self.costs[name]
        raise ConfigError(
            f"expected a model that {self.name} has a cost curve of ({', '.join(self.costs)}), "
            f"got {model!r}; `{self.name}:MODEL` takes the curve of another"
        )

    def save(self, path: str | Path) -> None:
        """Write a JSON file, whole or not at all. Raises ConfigError when the disk refuses."""
        try:
            write_whole(Path(path), self.model_dump_json(indent=1) + "\n")
        except OSError as error:
            raise ConfigError(f"cannot write {path}: {error.strerror}") from error


def recorded() -> tuple[str, ...]:
    """The devices whose curves ship with recstack.

    >>> recorded()
    ('gtx-1080-ti',)
    """
    return tuple(sorted(path.stem for path in RECORDED.glob("*.json")))


def read_accelerator(source: str | Path) -> Accelerator:
    """A recorded device by name, or one in a file, which may hold the costs of one model alone.

    Raises ConfigError that names file and place.

    >>> read_accelerator("gtx-1080-ti").origin
    'simulated'
    """
    path = RECORDED / f"{source}.json" if str(source) in recorded() else Path(source)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        known = ", ".join(recorded())
        raise ConfigError(f"expected one of {known}, or a file: cannot read {path}: {error}") from (
            error
        )
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"expected JSON: {error} - at `{path}`") from None
    try:
        if isinstance(data, dict) and "service_us" in data:
            return _of_one(Costs.model_validate_json(json.dumps(data)), path)
        return Accelerator.model_validate_json(json.dumps(data))
    except ValidationError as error:
        what, place = first_fault(error)
        raise ConfigError(f"{what} - at `{path}: {place}`") from None


def find_costs(text: str, model: str) -> tuple[Accelerator, Costs]:
    """What `DEVICE` or `DEVICE:MODEL` means for a model: the device, and its curve.

    >>> find_costs("gtx-1080-ti", "rm1-deeprecsys")[1].largest_rows
    1024
    """
    name, _, other = text.partition(":")
    device = read_accelerator(name)
    if device.source == _ONE:
        return device, next(iter(device.costs.values()))
    return device, device.of(other or model)


_ONE = "the costs of one model"


def _of_one(costs: Costs, path: Path) -> Accelerator:
    return Accelerator(
        name=path.stem, origin=costs.origin, source=_ONE, costs={costs.what or path.stem: costs}
    )
