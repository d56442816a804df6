"""A proven plan as a folder that `recstack serve` takes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from recstack.engine import EngineConfig
from recstack.model import Model
from recstack.model.digest import weights_digest
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
    was deployed there before stays, all of it, until all of the new is on disk.
    """
    formats = {table: plan.table(table) for table in model.table_formats}
    with TemporaryDirectory(prefix=".", suffix=".partial", dir=out) as name:
        aside = Path(name)
        plan.save(aside / "precision.toml", notes)
        Deployment(
            model="model", precision="precision.toml", engine=engine,
            reference=None if reference is None else str(reference),
            reference_digest=None if reference is None else weights_digest(model),
        ).save(aside / "plan.toml")  # fmt: skip
        model.save(out / "model", table_formats=formats, greedy=plan.greedy)
        for path in aside.iterdir():
            path.replace(out / path.name)
