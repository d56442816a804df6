"""The application: collects the verbs and turns errors into exit codes."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from recstack.cli import (
    accelerator,
    bench,
    describe,
    doctor,
    importing,
    load,
    mlperf,
    quantize,
    quickstart,
    report,
    serve,
    simulate,
    tune,
)
from recstack.cli import zoo as zoo_verb
from recstack.cli.output import progress
from recstack.errors import RecstackError

app = typer.Typer(
    name="recstack",
    help="Finds, proves and runs the fastest deployment of a recommendation model.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for verb in (
    zoo_verb.zoo, describe.describe, importing.import_, quantize.quantize, tune.tune, serve.serve,
    load.load, mlperf.mlperf, bench.bench, simulate.simulate, accelerator.accelerator,
    report.report, doctor.doctor, quickstart.quickstart,
):  # fmt: skip
    app.command(name=verb.__name__.rstrip("_"))(verb)


def _version(wanted: bool) -> None:
    if wanted:
        from recstack import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Finds, proves and runs the fastest deployment of a recommendation model."""


def main() -> None:
    """Run the command line; never a traceback for what the user can mend."""
    try:
        app()
    except RecstackError as error:
        progress.print(f"recstack: {error}", style="red", markup=False, soft_wrap=True)
        sys.exit(2)
    except MemoryError as error:
        progress.print(f"recstack: out of memory: {error}", style="red", markup=False)
        sys.exit(2)
    except BrokenPipeError:
        sys.stderr.close()
    except OSError as error:
        progress.print(f"recstack: {error}", style="red", markup=False, soft_wrap=True)
        sys.exit(2)
