from __future__ import annotations

from recstack.serve.exposition import expose
from recstack.serve.metrics import Metrics


def test_numbers_of_several_outputs_have_a_label() -> None:
    suts = {
        "clicks": {"monitor_ne/0": 0.5, "monitor_ne/1": 0.25, "monitor_alarm": 0.0},
        "shop": {"monitor_ne": 0.75, "monitor_alarm": 1.0},
    }
    page = expose(Metrics({}), {}, suts).decode().splitlines()
    assert 'recstack_sut_monitor_ne{model="clicks",output="0"} 0.5' in page
    assert 'recstack_sut_monitor_ne{model="clicks",output="1"} 0.25' in page
    assert 'recstack_sut_monitor_ne{model="shop",output=""} 0.75' in page
    assert 'recstack_sut_monitor_alarm{model="shop"} 1.0' in page
    assert sum(line.startswith("# TYPE recstack_sut_monitor_ne ") for line in page) == 1
