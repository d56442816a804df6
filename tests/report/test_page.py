from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import numpy as np
import pytest

from recstack import results
from recstack.loadtest.metrics import summarise
from recstack.loadtest.outcome import CODES, LoadResult
from recstack.report import ReportWriteError, render, write_report
from recstack.report.distribution import steps
from tests.report.conftest import Write
from tests.report.samples import (
    Record,
    accuracy_record,
    found_record,
    load_record,
    make_run,
    stages_record,
)
from tests.report.structure import Element, parse, table

HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=a() href='https://evil.example'>&amp;\x00\ud800"


@pytest.fixture(scope="module")
def page(quickstart: list[Record], tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "run.jsonl"
    results.write(path, "quickstart", [{"origin": "measured", **r} for r in quickstart], seed=7)
    return render([path])


def check(page: str) -> Element:
    """Self-contained, balanced and accessible."""
    root = parse(page)
    assert page.startswith("<!DOCTYPE html>")
    for name in ("script", "img", "link", "iframe", "object", "use", "image", "foreignobject"):
        assert not root.all(name)
    ids = []
    stack = [root]
    while stack:
        element = stack.pop()
        stack += element.children
        ids += [element.attributes["id"]] if "id" in element.attributes else []
        for attribute in element.attributes:
            assert not attribute.startswith("on")
            assert attribute not in ("href", "src", "xlink:href", "style")
    assert len(ids) == len(set(ids))
    assert not re.search(r"url\(|@import", root.all("style")[0].text)
    charts = [svg for svg in root.all("svg") if svg.attributes.get("role") == "img"]
    for svg in charts:
        assert svg.attributes["aria-labelledby"]
        named = {
            child.attributes["id"] for child in svg.children if child.name in ("title", "desc")
        }
        assert set(svg.attributes["aria-labelledby"].split()) == named
        assert all(child.text for child in svg.children if child.name in ("title", "desc"))
    figures = root.all("figure")
    assert len(figures) == len(charts)
    for figure in figures:
        assert figure.all("details")[0].all("table")
        origins = figure.all("h3")[0].all("span")[0].text.split(", ")
        assert set(origins) <= {"measured", "simulated", "modelled"}
    for text in root.all("text") + root.all("td") + root.all("dd"):
        assert "nan" not in text.text.casefold().split()
    for element in root.all("path") + root.all("line") + root.all("rect") + root.all("svg"):
        for value in element.attributes.values():
            assert value is None or not re.search(r"\b(nan|inf)\b", value)
    return root


def test_a_quickstart_has_every_section(page: str) -> None:
    root = check(page)
    ids = [section.attributes["id"] for section in root.all("section")]
    assert ids == ["accuracy", "throughput", "latency", "distribution", "stages", "provenance"]
    assert "Not in these files" not in root.text
    assert "MovieLens 1M, time split" in root.text


def test_the_headline_is_the_ratio_of_the_searches(page: str, quickstart: list[Record]) -> None:
    base, tuned = (r for r in quickstart if r["record"] == "qps_at_sla")
    sentence = next(p for p in parse(page).all("p") if p.attributes.get("class") == "sentence")
    assert f"{tuned['low_qps'] / base['low_qps']:.2f} times" in sentence.text
    low, high = tuned["low_qps"] / base["high_qps"], tuned["high_qps"] / base["low_qps"]
    assert f"({low:.2f} to {high:.2f} times)" in sentence.text


def test_latencies_are_those_of_the_raw_arrays(page: str) -> None:
    result = make_run(0.6 * 1.15e6 / 520.0, service_us=520.0, count=6000, seed=1)
    twin = summarise(result)
    (row,) = [r for r in table(parse(page), "Load runs") if r[:2] == ["tuned", "HTTP"]]
    assert row[4:6] == ["5,400", "0"]
    for cell, p in zip(row[6:9], (50.0, 95.0, 99.0), strict=True):
        assert float(cell) == pytest.approx(twin.latency_ns[p].value / 1e6, rel=5e-3)
    assert float(row[3].replace(",", "")) == pytest.approx(twin.achieved_qps, rel=1e-3)


def test_refusals_make_percentiles_infinite_and_are_shown(page: str) -> None:
    rows = [r for r in table(parse(page), "Load runs") if "queue full" in r[5]]
    assert rows
    for row in rows:
        refused = int(row[5].split()[0].replace(",", "")) / 5400
        assert (row[8] == "∞") == (refused > 0.01)
        assert (row[7] == "∞") == (refused > 0.05)
        assert row[9] == "missed"


def test_settings_that_differ_are_side_by_side(page: str) -> None:
    rows = table(parse(page), "Settings that differ")
    assert ["schedule.chunk_rows", "256", "64"] in rows
    assert not [row for row in rows if row[0] == "engine.precision"]


def test_every_probe_is_listed_and_marked(page: str, quickstart: list[Record]) -> None:
    probes = [p for r in quickstart if r["record"] == "qps_at_sla" for p in r["probes"]]
    root = parse(page)
    rows = table(root, "Probes for p95\u00a0≤\u00a010\u00a0ms: baseline, tuned")
    assert [row[2] for row in rows] == [p["outcome"] for p in probes]
    (chart,) = [
        s for s in root.all("svg") if "probes-0-" in (s.attributes.get("aria-labelledby") or "")
    ]
    assert len([t for t in chart.all("title") if "queries/s, " in t.text]) == len(probes)


def test_hostile_text_stays_text(write: Write) -> None:
    run = make_run(300.0, service_us=500.0, count=500, seed=0)
    load = load_record(run, 300.0, HOSTILE, HOSTILE)
    load |= {"errors": [HOSTILE], "reasons": [HOSTILE]}
    load["stages_ns"] = {HOSTILE: run.stages_ns["queue"]}
    found = found_record(HOSTILE)
    found["deployment"] = {HOSTILE: {HOSTILE: HOSTILE}}
    found["probes"][0]["reason"] = found["high_outcome"] = HOSTILE
    stages = stages_record(HOSTILE, 1.0)
    stages["stages"][HOSTILE] = stages["stages"]["queue"]
    path = write(
        accuracy_record(model=HOSTILE, baseline=HOSTILE),
        found,
        load,
        stages,
        {"record": "note", "text": HOSTILE},
        {"record": HOSTILE, HOSTILE: HOSTILE},
    )
    page = render([path])
    root = check(page)
    page.encode("utf-8")
    shown = HOSTILE.replace("\x00", "\ufffd").replace("\ud800", "\ufffd")
    assert root.text.count(shown) > 10


def test_no_records_at_all(write: Write) -> None:
    root = check(render([write()]))
    assert (
        "Not in these files: accuracy, QPS@SLA, load runs, latency distribution, stages."
        in root.text
    )
    assert [s.attributes["id"] for s in root.all("section")] == ["provenance"]


@pytest.mark.parametrize("sort", ["accuracy", "qps_at_sla", "load", "null", "stages", "note"])
def test_each_sort_alone(write: Write, quickstart: list[Record], sort: str) -> None:
    check(render([write(*(r for r in quickstart if r["record"] == sort))]))


@pytest.mark.parametrize("count", [0, 1, 2])
@pytest.mark.parametrize("status", ["ok", "lost"])
def test_tiny_runs(write: Write, count: int, status: str) -> None:
    times = np.arange(count, dtype=np.int64) * 1_000_000
    finished = times + 500_000 if status == "ok" else times * 0 - 1
    codes = np.full(count, CODES[status], np.uint8)
    run = LoadResult(times, times, finished, times * 0 + 1, codes, {"execute": finished})
    root = check(render([write(found_record("tuned"), load_record(run, 10.0, "tuned", "HTTP"))]))
    (row,) = table(root, "Load runs")
    assert row[4] == str(count)
    assert row[6] == ("–" if not count else "0.500" if status == "ok" else "∞")
    assert f"p95 needs 90 queries after warm-up, got {count}" in root.text


def test_warm_up_longer_than_the_run(write: Write) -> None:
    run = make_run(100.0, service_us=500.0, count=50, seed=0)
    check(render([write({**load_record(run, 100.0, "a", "HTTP"), "warmup": 80})]))


@pytest.mark.parametrize(
    ("base", "tuned", "expected"),
    [
        ((0.0, 5.0), (9.0, 10.0), "so there is no ratio"),
        ((100.0, 110.0), (105.0, 120.0), "a difference that these intervals do not prove"),
        ((100.0, 110.0), (300.0, None), "3.00 times"),
        ((100.0, 110.0), (300.0, None), "(at least 2.73 times)"),
        ((100.0, 110.0), (0.0, 1.0), "0 times"),
    ],
)
def test_comparisons_say_no_more_than_they_know(
    write: Write,
    base: tuple[float, float | None],
    tuned: tuple[float, float | None],
    expected: str,
) -> None:
    path = write(found_record("baseline", *base), found_record("tuned", *tuned))
    assert expected in check(render([path])).text


def test_different_slas_do_not_compare(write: Write) -> None:
    path = write(found_record("baseline"), {**found_record("tuned"), "sla": "p99<=5ms"})
    assert "their rates do not compare" in check(render([path])).text


def test_only_like_is_compared_without_labels(write: Write) -> None:
    records = [found_record("a", 100.0, 110.0), found_record("b", 150.0, 160.0)]
    simulated = {**found_record("c", 900.0, 910.0), "origin": "simulated"}
    root = check(render([write(*records, simulated)]))
    assert "b sustains 1.50 times the load of a" in root.text
    root = check(render([write(records[0], simulated)]))
    assert "sustains" not in root.text


def test_different_machines_are_named(write: Write, tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    machine = results.fingerprint().model_copy(update={"cpu": "Imaginary CPU"})
    record = {**found_record("baseline"), "origin": "measured"}
    results.write(other, "tune", [record], seed=None, machine=machine)
    root = check(render([other, write(found_record("tuned"))]))
    assert "made on different machines" in root.text
    assert "baseline (other.jsonl)" in root.text
    assert "Imaginary CPU" in root.text


def test_many_deployments_take_several_charts(write: Write) -> None:
    records = [found_record(f"config-{i}", 100.0 + i, 110.0 + i) for i in range(7)]
    root = check(render([write(*records)]))
    (section,) = [s for s in root.all("section") if s.attributes["id"] == "throughput"]
    assert len(section.all("figure")) == 2
    assert len(table(root, "QPS@SLA by deployment")) == 7


def test_an_undecided_end_says_so(write: Write) -> None:
    found = {**found_record("tuned"), "high_outcome": "undecided"}
    assert "the true rate may be higher" in check(render([write(found)])).text


def test_simulated_numbers_are_labelled(write: Write) -> None:
    root = check(render([write({**found_record("tuned"), "origin": "simulated"})]))
    assert {s.text for s in root.all("span") if "origin" in (s.attributes["class"] or "")} == {
        "simulated"
    }


def test_unknown_sorts_are_listed(write: Write) -> None:
    root = check(render([write({"record": "weather", "sky": "x" * 5000})]))
    assert "run.jsonl, line 2: 'weather' (measured)" in root.text
    assert "characters more" in root.text


def test_steps_are_exact_where_they_are_kept() -> None:
    values = np.sort(np.random.default_rng(0).exponential(1.0, 20_000))
    kept = steps(values, 25_000)
    assert len(kept) < 1500
    assert kept[-1] == (values[-1], 20_000 / 25_000)
    assert kept[-2] == (values[-2], 19_999 / 25_000)
    for value, share in kept[1:]:
        assert share * 25_000 == pytest.approx(np.searchsorted(values, value, side="right"))
    assert steps(values[:0], 3) == []


def test_a_report_is_written_whole(write: Write, tmp_path: Path) -> None:
    out = tmp_path / "out" / "report.html"
    out.parent.mkdir()
    write_report([write(found_record("tuned"))], out)
    assert out.read_text(encoding="utf-8").endswith("</html>\n")
    assert list(out.parent.iterdir()) == [out]


def test_a_full_disk_leaves_the_previous_report(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(found_record("tuned"))
    out = tmp_path / "out" / "report.html"
    out.parent.mkdir()
    out.write_text("previous")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ReportWriteError, match=r"report\.html: cannot write: No space left"):
        write_report([path], out)
    assert [p.read_text() for p in out.parent.iterdir()] == ["previous"]


def test_a_folder_that_is_not_there(write: Write, tmp_path: Path) -> None:
    with pytest.raises(ReportWriteError, match="No such file"):
        write_report([write()], tmp_path / "absent" / "report.html")


def test_the_same_files_give_the_same_page(write: Write) -> None:
    path = write(found_record("tuned"))
    assert render([path]) == render([path])
