"""The application: collects the verbs and turns errors into exit codes."""

from __future__ import annotations

import sys
from collections.abc import Callable
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
    rich_markup_mode=None,  # its panels cut long words off at 80 columns
    add_completion=False,
)
VERBS: dict[Callable[..., None], str] = {
    zoo_verb.zoo: "List the models of the zoo, or save one.",
    describe.describe: "What a model holds and costs, op by op.",
    importing.import_: "Make a model folder of a PyTorch module.",
    quantize.quantize: "Find and prove a cheaper precision plan.",
    tune.tune: "Find the schedule with the highest QPS@SLA.",
    serve.serve: "Serve a model over HTTP.",
    load.load: "Load a server or a deployment, open-loop.",
    mlperf.mlperf: "Run MLPerf's LoadGen against a model.",
    bench.bench: "Time batches beside other engines.",
    simulate.simulate: "Simulate a schedule in virtual time.",
    accelerator.accelerator: "What batches cost on an accelerator.",
    report.report: "Make one HTML page of result files.",
    doctor.doctor: "What this machine and installation offer.",
    quickstart.quickstart: "All of it on the MovieLens example.",
}
for verb, summary in VERBS.items():
    app.command(name=verb.__name__.rstrip("_"), short_help=summary)(verb)


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
