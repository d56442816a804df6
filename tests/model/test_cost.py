from __future__ import annotations

import json

import pytest

from recstack.errors import ConfigError
from recstack.model import Model, zoo
from recstack.model.cost import describe
from recstack.model.cost_table import cost_table
from tests.tables import text_of

# facts/models.md 1.2: lookups, gather bytes, tables GB and FC MACs per sample, as printed there.
PUBLISHED = {
    "rm1": (640, "82 KB", "4.10", "0.10"),
    "rm2": (3840, "983 KB", "4.10", "0.32"),
    "rm3": (200, "26 KB", "2.56", "3.20"),
    "wnd": (27, "3.5 KB", "3.46", "2.06"),
    "din": (759, "97 KB", "5.89", "0.07"),
    "dien": (43, "5.5 KB", "3.90", "0.79"),
    "ncf": (4, "1.0 KB", "0.09", None),
    "mt-wnd": (43, "5.5 KB", "3.90", None),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_released_shapes(name: str) -> None:
    lookups, gather, gigabytes, macs = PUBLISHED[name]
    cost = describe(zoo.outline(name, variant="deeprecsys"))
    kilobytes = cost.row.gather_bytes / 1e3
    digits = 1 if "." in gather else 0
    assert cost.row.lookups == lookups
    assert f"{kilobytes:.{digits}f} KB" == gather
    assert f"{cost.table_bytes / 1e9:.2f}" == gigabytes
    if macs is not None:
        assert f"{cost.row.macs / 1e6:.2f}" == macs
    assert cost.query.flops == 0


@pytest.mark.parametrize("tasks", [1, 8])
def test_multi_task_macs(tasks: int) -> None:
    """Printed there as 2.46 M + 0.16 M per task."""
    cost = describe(zoo.outline("mt-wnd", variant="deeprecsys", tasks=tasks))
    assert cost.row.macs == 2_457_600 + 163_840 * tasks


def test_ncf_macs() -> None:
    """Printed there as 0.14 M, which leaves out the artifact's last layer (128 to 64)."""
    assert describe(zoo.outline("ncf", variant="deeprecsys")).row.macs == 139_264 + 128 * 64
    proper = describe(zoo.outline("ncf"))
    assert f"{(proper.row.macs + proper.query.macs) / 1e6:.2f}" == "0.14"


def test_mlperf() -> None:
    """facts/mlperf.md: 214 lookups, 107 KiB and 32.06 MFLOP per pair; 97.36 GiB of tables."""
    cost = describe(zoo.outline("dlrm-dcnv2"))
    assert cost.row.lookups == 214 and cost.row.gather_bytes == 107 * 1024
    assert f"{2 * cost.row.macs / 1e6:.2f}" == "32.06"
    assert f"{cost.table_bytes / 2**30:.2f}" == "97.36"
    assert cost.tables == 26


def test_separate_units_cost_what_a_shared_one_does() -> None:
    shared = describe(zoo.outline("din", variant="deeprecsys"))
    separate = describe(zoo.outline("din", variant="deeprecsys", shared_units=False))
    assert separate.row.macs == shared.row.macs
    assert separate.weight_bytes - shared.weight_bytes == 249 * 4 * (96 + 1 + 32 + 32)


def test_totals(tiny: Model) -> None:
    cost = describe(tiny, rows=10, queries=2)
    by_name = {op.name: op for op in cost.ops}
    assert by_name["u"].scope == "user" and by_name["u"].lookups == 4
    assert by_name["i"].flops == 2 * 2 * 4
    assert by_name["score"].macs == 11 and by_name["score"].parameters == 12
    assert by_name["both"].activation_bytes == 4 * 22
    assert cost.row.flops == sum(op.flops for op in cost.ops if op.scope == "item")
    assert cost.query.lookups == 4 and cost.row.lookups == 2
    assert cost.batch.lookups == 10 * 2 + 2 * 4
    assert cost.tables == 1 and cost.table_bytes == 160
    assert cost.parameters == 52 and cost.weight_bytes == 208


def test_a_shared_table_counts_once() -> None:
    cost = describe(zoo.outline("din"))
    assert cost.tables == 3
    assert cost.weight_bytes < sum(op.weight_bytes for op in cost.ops)


def test_negative_sizes(tiny: Model) -> None:
    with pytest.raises(ConfigError, match="expected rows and queries >= 0"):
        describe(tiny, rows=-1)


def test_json(tiny: Model) -> None:
    found = json.loads(json.dumps(describe(tiny, rows=3).as_dict()))
    assert found["origin"] == "modelled" and found["rows"] == 3
    assert found["ops"][0]["kind"] == "embedding_bag" and found["batch"]["lookups"] == 10


def test_text() -> None:
    text = text_of(cost_table(describe(zoo.outline("din", variant="deeprecsys"), rows=64)))
    assert "bag_[1..250] x 250" in text and "(modelled)" in text
    assert "48,576" in text and len(text.splitlines()) < 25
    assert all(len(line) <= 120 for line in text.splitlines())
