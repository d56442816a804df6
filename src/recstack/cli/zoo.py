"""`recstack zoo`: the presets, or one of them saved as a folder."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from recstack.cli.models import open_model
from recstack.cli.options import Json, RowsScale, Seed
from recstack.cli.output import console, print_json, table
from recstack.model import zoo as presets


def zoo(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A preset to build, or name:variant.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to save the model in.")] = None,
    rows_scale: RowsScale = 1.0,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """List the zoo, or build one of its models with seeded weights and save it."""
    if name is None:
        entries = [asdict(e) for e in presets.listing()]
        if json:
            print_json(entries)
            return
        rows = [
            (
                e["name"] + (f":{e['variant']}" if e["variant"] else ""),
                e["tables"], f"{e['table_bytes'] / 1e9:.2f}", e["lookups"],
                f"{e['gather_bytes'] / 1e3:.1f}", f"{e['macs'] / 1e6:.2f}",
            )
            for e in entries
        ]  # fmt: skip
        columns = ("model", "tables", "GB", "lookups", "gather kB", "FC M MAC")
        console.print(table("Zoo, per row of a one-row query (modelled)", columns, rows))
        return
    if out is None:
        raise typer.BadParameter("expected --out FOLDER beside a name")
    model = open_model(name, rows_scale, seed)
    model.save(out)
    size = sum(w.nbytes for w in model.weights.values())
    if json:
        print_json({"model": model.name, "folder": str(out), "weight_bytes": size})
    else:
        console.print(f"{model.name}: {size / 1e6:.1f} MB of weights in {out}")
