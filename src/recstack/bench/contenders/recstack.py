"""recstack's own engine, which checks and reads every batch as it comes."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from recstack import __version__
from recstack.batch import Batch
from recstack.bench.contender import Setting
from recstack.engine import EngineConfig, compile
from recstack.model import Model
from recstack.types import Scores


class Recstack:
    """The engine as users call it: staging does nothing, and indices are checked inside the clock.

    Its peers have their inputs laid out before the clock starts and do not check them.
    """

    name = "recstack"

    def __init__(self, model: Model, setting: Setting) -> None:
        config = EngineConfig(isa=setting.isa, threads=setting.threads)
        self.engine = compile(model, config)

    def version(self) -> str:
        """recstack's version."""
        return __version__

    def stage(self, batch: Batch) -> Batch:
        """The batch itself."""
        return batch

    def run(self, staged: Any) -> Any:
        """One call of the engine."""
        return self.engine.run(staged)

    def scores(self, result: Any) -> Scores:
        """The scores themselves."""
        scores: Scores = result
        return scores

    def turn(self) -> nullcontext[None]:
        """Nothing to set: the engine owns its threads."""
        return nullcontext()
