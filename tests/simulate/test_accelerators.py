"""Recorded accelerators: their files, and that they hold what was published."""

from __future__ import annotations

from pathlib import Path

import pytest

from recstack.errors import ConfigError
from recstack.schedule import Costs
from recstack.simulate import Accelerator, find_costs, read_accelerator, recorded

COSTS = Costs(busy=(1,), service_us=((10.0, 12.0),), what="mine")


@pytest.mark.parametrize("name", recorded())
def test_a_recorded_device_says_that_it_is_simulated_from_what(name: str) -> None:
    device = read_accelerator(name)
    assert device.origin == "simulated" and device.source and device.assumed
    assert len(device.costs) == 8
    for costs in device.costs.values():
        assert costs.origin == "simulated" and "simulated" in costs.what
        assert costs.largest_rows == 1024
        times = costs.service_us[0]
        # A row of a large batch costs a fraction of what one alone does, as on any such device.
        assert list(times) == sorted(times) and times[-1] / 1024 < 0.1 * times[0]


def test_a_file_of_one_models_costs_is_a_device(tmp_path: Path) -> None:
    COSTS.save(tmp_path / "gpu.json")
    device, costs = find_costs(str(tmp_path / "gpu.json"), "anything")
    assert (device.name, device.origin, costs) == ("gpu", "measured", COSTS)


def test_a_device_reads_as_it_was_written(tmp_path: Path) -> None:
    device = Accelerator(name="x", origin="measured", source="here", costs={"a": COSTS})
    device.save(tmp_path / "x.json")
    assert read_accelerator(tmp_path / "x.json") == device
    assert device.of("a-deeprecsys") == COSTS
    with pytest.raises(ConfigError, match=r"cost curve of \(a\), got 'b'; `x:MODEL` takes"):
        device.of("b")
    with pytest.raises(ConfigError, match="cannot write"):
        device.save(tmp_path / "none" / "x.json")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("{", "expected JSON"),
        ('{"name": 3}', "valid string"),
        ('{"service_us": []}', "busy"),
        (None, "expected one of gtx-1080-ti, or a file: cannot read"),
    ],
)
def test_a_bad_file_is_refused(text: str | None, error: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=error):
        read_accelerator(path)
