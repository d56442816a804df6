"""Static ranges that a guard found while serving, kept for the next start.

Beside PLAN.toml lies PLAN.ranges.toml:

    format = 1
    of = "..."               # digest of the fp32 model and of the precisions as they were planned

    [ranges]
    relu = [-0.5, 3.25]

They hold for that model under that plan alone: after new weights, or an edit of the precision plan,
its own ranges count again.
"""

from __future__ import annotations

import hashlib
import math
import tomllib
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import tomli_w

from recstack.engine.precision import ActivationRange, LayerPlan
from recstack.errors import ConfigError
from recstack.files import write_whole
from recstack.precision.calibrate import static_ranges
from recstack.precision.plan import PrecisionPlan

FORMAT = 1


class KeptRanges:
    """The file of a deployment's refreshed ranges.

    deployment: its plan.toml. digest: of the fp32 model (`recstack.model.digest`). plan: the
    layers' precisions as planned, with the ranges that the proof was made with.
    """

    def __init__(self, deployment: Path, digest: str, plan: LayerPlan) -> None:
        self.path = deployment.with_suffix(".ranges.toml")
        self._plan = plan
        text = digest + PrecisionPlan(layers=plan).to_toml()
        self._of = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def save(self, plan: LayerPlan | None) -> None:
        """Keep the ranges of `plan`, whole or not at all; None: keep none from now on.

        Raises ConfigError when the disk refuses.
        """
        try:
            if plan is None:
                self.path.unlink(missing_ok=True)
                return
            found = {name: [r.low, r.high] for name, r in static_ranges(plan).items()}
            data = {"format": FORMAT, "of": self._of, "ranges": found}
            write_whole(self.path, tomli_w.dumps(data))
        except OSError as error:
            raise ConfigError(f"cannot write {self.path}: {error.strerror}") from error

    def read(self) -> LayerPlan | None:
        """The plan with the ranges that were kept; None: none, or they are of another one.

        Raises ConfigError for a file that is not what `save` writes.
        """
        try:
            data = tomllib.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            raise ConfigError(f"expected refreshed ranges: {error} - at `{self.path}`") from None
        if data.get("format") != FORMAT:
            got = data.get("format")
            raise ConfigError(f"expected format = {FORMAT}, got {got!r} - at `{self.path}: format`")
        if data.get("of") != self._of:
            return None
        found, layers = data.get("ranges"), dict(self._plan.layers)
        wanted = set(static_ranges(self._plan))
        if not isinstance(found, dict) or set(found) != wanted:
            names = ", ".join(sorted(wanted))
            raise ConfigError(f"expected ranges of {names} - at `{self.path}: ranges`")
        for name, ends in found.items():
            layers[name] = replace(layers[name], activations=self._range(name, ends))
        return replace(self._plan, layers=layers)

    def _range(self, name: str, ends: object) -> ActivationRange:
        if isinstance(ends, list) and len(ends) == 2:
            with suppress(TypeError, ValueError, OverflowError, ConfigError):
                low, high = map(float, ends)
                if math.isfinite(low) and math.isfinite(high):
                    return ActivationRange(low, high)
        raise ConfigError(f"expected [low, high], got {ends!r} - at `{self.path}: ranges.{name}`")
