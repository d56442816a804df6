"""A proven plan as a folder that `recstack serve` takes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from recstack.engine import EngineConfig
from recstack.errors import ModelFileError
from recstack.model import Model
from recstack.model.digest import model_digest
from recstack.model.storage import replace_model
from recstack.precision.plan import PrecisionPlan
from recstack.tune.deployment import Deployment


def deploy(
    out: Path,
    model: Model,
    plan: PrecisionPlan,
    *,
    notes: Mapping[str, str],
    engine: EngineConfig,
    reference: Path | None,
) -> None:
    """Write model, plan and deployment into `out`.

    notes: comments in the plan, by table or layer. reference: the folder of the model in fp32. What
    was deployed there before stays, all of it, until all of the new is on disk. Stopped after that,
    while names change, `out` holds no plan.toml, never one of both.
    """
    formats = {table: plan.table(table) for table in model.table_formats}
    with TemporaryDirectory(prefix=".", suffix=".partial", dir=out) as folder:
        aside = Path(folder)
        plan.save(aside / "precision.toml", notes)
        Deployment(
            model="model", precision="precision.toml", engine=engine,
            reference=None if reference is None else str(reference),
            reference_digest=None if reference is None else model_digest(model),
        ).save(aside / "plan.toml")  # fmt: skip
        model.save(aside / "model", table_formats=formats, greedy=plan.greedy)
        there, before = out / "plan.toml", aside / "before.toml"
        if there.exists():
            there.rename(before)
        try:
            replace_model(aside / "model", out / "model")
        except (OSError, ModelFileError):
            if before.exists():
                before.rename(there)
            raise
        for name in ("precision.toml", "plan.toml"):
            (aside / name).replace(out / name)
