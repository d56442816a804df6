"""How long simulated batches take: a mean by rows, and a spread around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from recstack import _native
from recstack.errors import ConfigError
from recstack.schedule import Costs


@dataclass(frozen=True, slots=True)
class Service:
    """A distribution of service times.

    costs: their means, and what the policy believes at first.
    spread: around the mean: "measured" (what `costs` has; none where it has none),
        "none", "exponential", or "lognormal" whose logarithm has the deviation `sigma`.

    >>> Service.constant(100_000.0, spread="exponential").costs.curve().service_ns(7)
    100000
    """

    costs: Costs
    spread: Literal["measured", "none", "exponential", "lognormal"] = "measured"
    sigma: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.sigma < 10.0:
            raise ConfigError(f"expected sigma in [0, 10), got {self.sigma}")

    @classmethod
    def constant(
        cls,
        mean_ns: float,
        *,
        spread: Literal["none", "exponential", "lognormal"] = "none",
        sigma: float = 0.0,
    ) -> Service:
        """The same mean for every batch, as queueing theory has it; modelled."""
        us = mean_ns / 1e3
        return cls(Costs(busy=(1,), service_us=((us, us),), origin="modelled"), spread, sigma)

    def kind(self, lanes: int) -> _native.LaneKind:
        """So many native lanes of it."""
        curve = self.costs.curve()
        idle_ns = round(1e3 * self.costs.idle_us)
        if self.spread != "measured":
            return _native.LaneKind(lanes, curve, self.spread, self.sigma, idle_ns=idle_ns)
        if not self.costs.spread:
            return _native.LaneKind(lanes, curve, idle_ns=idle_ns)
        return _native.LaneKind(lanes, curve, "empirical", 0.0, self.costs.spread, idle_ns)
