"""What may be chosen: axes of schedules and plans, and the candidates that they span."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from recstack.errors import ConfigError
from recstack.schedule import AcceleratorConfig, ScheduleConfig, static_chunk_rows

PLAN = "plan"
FIXED_ONLY = ("chunk_rows", "merge_rows", "merge_window_us", "order")
Place = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to run a model. plan: the name of the engine among the alternatives given."""

    schedule: ScheduleConfig
    plan: str = ""

    @property
    def key(self) -> str:
        """The same text for the same candidate, in any process."""
        return f"{self.plan}|{self.schedule.model_dump_json()}"


@dataclass(frozen=True, slots=True)
class Axis:
    """One choice: what each value changes of the schedule, or which plan ("plan": its name).

    ordered: neighbours are alike, so that a search may climb.
    """

    name: str
    values: tuple[Mapping[str, Any], ...]
    ordered: bool = False

    def __post_init__(self) -> None:
        if not self.values:
            raise ConfigError(f"expected values to choose from, got none - at axis `{self.name}`")


@dataclass(frozen=True, slots=True)
class Space:
    """Every combination of the axes' values, laid over `base`; places are indices into the axes."""

    axes: tuple[Axis, ...]
    base: ScheduleConfig = field(default_factory=ScheduleConfig)

    def candidate(self, place: Place) -> Candidate:
        """The candidate at a place."""
        changed: dict[str, Any] = {}
        for axis, at in zip(self.axes, place, strict=True):
            changed |= axis.values[at]
        plan = changed.pop(PLAN, "")
        if changed.get("policy", self.base.policy) != "fixed":
            # Means nothing to other policies: one candidate, not many of one behaviour.
            changed = {k: v for k, v in changed.items() if k not in FIXED_ONLY}
            if (device := changed.get("accelerator")) is not None:
                changed["accelerator"] = device.model_copy(update={"threshold_rows": 1})
        return Candidate(ScheduleConfig(**{**dict(self.base), **changed}), plan)

    def places(self) -> Iterator[Place]:
        """Every place; several may be of the same candidate."""
        return itertools.product(*(range(len(axis.values)) for axis in self.axes))

    def candidates(self) -> list[Candidate]:
        """Every candidate, once."""
        made = (self.candidate(place) for place in self.places())
        return list({candidate.key: candidate for candidate in made}.values())


def schedule_space(
    cores: int,
    largest_rows: int,
    *,
    plans: Sequence[str] = ("",),
    slack: Mapping[str, Mapping[str, Any]] | None = None,
    windows_us: Sequence[float] = (0.0, 200.0, 1000.0),
    accelerator: AcceleratorConfig | None = None,
) -> Space:
    """Chunk size x lanes x threads x merging x policy x plan, on so many cores.

    Chunks are powers of two from 8 rows and the static schedule's; merging is off, or of batches up
    to 256 rows that wait as long as each of `windows_us` for company. slack: by plan, the fields of
    a schedule with the policy "slack", its costs among them; on a lane per core. accelerator: may
    be used, for queries from powers of two of rows.

    >>> space = schedule_space(2, 1000)
    >>> [axis.name for axis in space.axes], len(space.candidates())
    (['lanes', 'chunk', 'merge', 'plan'], 72)
    """
    static = static_chunk_rows(largest_rows, cores)
    chunks = {static, largest_rows} | {1 << k for k in range(3, 20) if 1 << k < largest_rows}
    splits = [lanes for lanes in range(cores, 0, -1) if cores % lanes == 0]
    axes = [
        Axis("lanes", tuple({"lanes": n, "threads_per_lane": cores // n} for n in splits)),
        Axis("chunk", tuple({"chunk_rows": rows} for rows in sorted(chunks)), ordered=True),
        Axis(
            "merge",
            (
                {"merge_rows": 0, "merge_window_us": 0.0},
                *({"merge_rows": 256, "merge_window_us": us} for us in windows_us),
            ),
            ordered=True,
        ),
    ]
    one_each = {"lanes": cores, "threads_per_lane": 1}
    ours = [{PLAN: p, "policy": "slack", **one_each, **f} for p, f in (slack or {}).items()]
    axes.append(Axis(PLAN, (*({PLAN: plan} for plan in plans), *ours)))
    if accelerator is not None:
        sizes = [1 << k for k in range(20) if 1 << k <= largest_rows]
        beside = [accelerator.model_copy(update={"threshold_rows": rows}) for rows in sizes]
        values: list[dict[str, Any]] = [{"accelerator": device} for device in beside]
        axes.append(Axis("accelerator", (*values, {"accelerator": None}), ordered=True))
    return Space(tuple(axes))


def static_schedule(cores: int, largest_rows: int) -> ScheduleConfig:
    """The baseline: a lane per core, chunks of largest query / lanes, no merging."""
    chunk = static_chunk_rows(largest_rows, cores)
    return ScheduleConfig(lanes=cores, chunk_rows=chunk, merge_rows=0)
