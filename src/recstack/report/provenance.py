"""Where the numbers come from: files, machines, revisions, settings; what could not be shown."""

from __future__ import annotations

import json

from recstack.report.document import Document, Source, Unknown
from recstack.report.figure import facts, section
from recstack.report.markup import Markup, join, tag

LONGEST = 2000


def provenance(document: Document) -> Markup:
    """Each file's header, and the deployments in full."""
    return section(
        "provenance",
        "Machine and provenance",
        tag("div", *(_source(source) for source in document.sources), class_="sources"),
        _settings(document),
    )


def unknown(document: Document) -> Markup:
    """Records of sorts that this report does not know."""
    if not document.unknown:
        return Markup()
    return section(
        "unknown",
        "Records not shown above",
        tag("p", "This version of recstack does not know what these are."),
        *(_unknown(record) for record in document.unknown),
    )


def _source(source: Source) -> Markup:
    header, machine = source.header, source.header.machine
    cores = f"{machine.cores} logical, {machine.cores_allowed} allowed"
    pairs = [
        ("kind", header.kind),
        ("created", header.created),
        ("seed", "none" if header.seed is None else str(header.seed)),
        ("git revision", header.git or "unknown"),
        ("processor", machine.cpu),
        ("cores", cores),
        ("features", ", ".join(machine.flags) or "none known"),
        ("memory", f"{machine.memory_bytes / 2**30:.1f} GiB"),
        ("kernel", machine.kernel),
        ("Python", machine.python),
        ("recstack", machine.recstack),
    ]
    return tag("div", tag("h3", source.name), facts(pairs))


def _settings(document: Document) -> Markup:
    return join(
        tag(
            "details",
            tag("summary", f"Settings of {document.name(entry, entry.data.label)}"),
            tag("pre", json.dumps(entry.data.deployment, indent=2, ensure_ascii=False)),
        )
        for entry in document.searches
    )


def _unknown(record: Unknown) -> Markup:
    text = json.dumps(record.data, indent=2, ensure_ascii=False)
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]}\n… {len(text) - LONGEST:,} characters more"
    sort = repr(record.sort) if record.sort else "without a sort"
    where = f"{record.source.name}, line {record.line}: {sort} ({record.data['origin']})"
    return tag("details", tag("summary", where), tag("pre", text))
