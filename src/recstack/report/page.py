"""The page: all sections in one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from recstack.errors import DataError
from recstack.files import write_whole
from recstack.report.accuracy import accuracy
from recstack.report.colocation import colocation
from recstack.report.distribution import distribution
from recstack.report.document import Document, read
from recstack.report.headline import headline
from recstack.report.latency import latency
from recstack.report.loadgen import loadgen
from recstack.report.markup import Markup, join, tag
from recstack.report.offered import offered
from recstack.report.peers import peers
from recstack.report.policies import compared_in, policies
from recstack.report.precision import op_errors, precision
from recstack.report.provenance import provenance, unknown
from recstack.report.roofline import roofline
from recstack.report.runs import runs_of
from recstack.report.stages import stages
from recstack.report.throughput import throughput
from recstack.report.timeline import timeline

# The page may load nothing: what slipped through escaping could not reach a network either.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


class ReportWriteError(DataError):
    """A report could not be written; the file of that name, if any, is the previous one."""


def render(paths: Sequence[Path]) -> str:
    """The report of result files, as HTML.

    Sections without records are left out, and named as such; unknown sorts of record are listed.

    Raises
    ------
    DataError: names file and line: no result file, of a kind without a report, or a record with a
        missing or wrong field.

    >>> render([])
    Traceback (most recent call last):
    recstack.errors.DataError: expected at least one result file, got none
    """
    document = read(paths)
    runs, compared = runs_of(document), compared_in(document)
    sections = {
        "accuracy": accuracy(document),
        "QPS@SLA": join((throughput(document), policies(compared), offered(compared))),
        "load runs": latency(runs),
        "latency distribution": distribution(document, runs),
        "stages": stages(document, runs),
    }
    absent = [name for name, markup in sections.items() if not markup]
    body = join(
        (
            _header(document),
            tag(
                "main",
                headline(document, runs, compared),
                *sections.values(),
                precision(document),
                op_errors(document),
                loadgen(document),
                timeline(document),
                colocation(document),
                peers(document),
                roofline(document),
                tag("p", f"Not in these files: {', '.join(absent)}.") if absent else None,
                unknown(document),
                provenance(document),
            ),
        )
    )
    return _page(_title(document), body)


def write_report(paths: Sequence[Path], out: Path) -> None:
    """Write the report of result files, whole or not at all; an existing file is replaced.

    Raises
    ------
    DataError: as `render`.
    ReportWriteError: the disk is full or the folder cannot be written; nothing half-written stays.
    """
    text = render(paths)
    target = Path(out)
    try:
        write_whole(target, text)
    except OSError as error:
        raise ReportWriteError(f"{target}: cannot write: {error.strerror or error}") from error


def _title(document: Document) -> str:
    kinds = dict.fromkeys(source.header.kind for source in document.sources)
    return f"recstack report: {', '.join(kinds)}"


def _header(document: Document) -> Markup:
    lines = dict.fromkeys(
        f"{source.header.machine.cpu}, {source.header.machine.cores_allowed} cores, "
        f"{source.header.created[:10]}"
        for source in document.sources
    )
    return tag("header", tag("h1", _title(document)), *(tag("p", line) for line in lines))


def _page(title: str, body: Markup) -> str:
    style = resources.files("recstack.report").joinpath("style.css").read_text(encoding="utf-8")
    head = join(
        (
            Markup('<meta charset="utf-8">'),
            Markup(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'),
            Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
            Markup('<meta name="color-scheme" content="light dark">'),
            tag("title", title),
            tag("style", Markup(style)),
        ),
        between="\n",
    )
    page = tag("html", tag("head", head), tag("body", body), lang="en")
    return f"<!DOCTYPE html>\n{page}\n"
