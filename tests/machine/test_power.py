"""The energy of a GPU, with a stand-in for NVML, and with NVML where there is no GPU."""

from __future__ import annotations

import time

import pytest

from recstack.machine.power import Energy, PowerMeter


class Nvml:
    """A board that takes 200 W: an energy counter in mJ, a power reading in mW."""

    class NVMLError(Exception):
        pass

    def __init__(self, *, counter: bool = True, power: bool = True, driver: bool = True) -> None:
        self._has = {"counter": counter, "power": power, "driver": driver}
        self.now_s = 50.0
        self.asked: list[object] = []
        self.open = 0

    def clock_s(self) -> float:
        return self.now_s

    def nvmlInit(self) -> None:
        self._need("driver")
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        self.asked.append(index)
        return index

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        self.asked.append(uuid)
        return uuid

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: object) -> int:
        self._need("counter")
        return round(200e3 * self.now_s)

    def nvmlDeviceGetPowerUsage(self, handle: object) -> int:
        self._need("power")
        return 200_000

    def _need(self, what: str) -> None:
        if not self._has[what]:
            raise self.NVMLError(f"no {what}")


@pytest.mark.parametrize(("counter", "by"), [(True, "counter"), (False, "samples")])
def test_energy_is_power_over_time(counter: bool, by: str) -> None:
    board = Nvml(counter=counter)
    with PowerMeter("cuda", nvml=board, clock_s=board.clock_s) as meter:
        time.sleep(0.01)
        board.now_s += 3.0
    energy = meter.energy
    assert (energy.seconds, energy.by, energy.absent) == (3.0, by, "")
    assert energy.joules == pytest.approx(600.0) and energy.watts == pytest.approx(200.0)
    assert energy.joules_per(300) == pytest.approx(2.0)
    assert "200.0 W, 2 J per query (measured" in energy.text(300)
    assert "200.0 W (measured" in energy.text(0)
    assert energy.to_record(300)["joules_per_query"] == pytest.approx(2.0)
    assert board.open == 0


@pytest.mark.parametrize(
    ("device", "visible", "asked"),
    [("cuda", None, 0), ("cuda:1", None, 1), ("cuda:1", "3,5", 5), ("cuda", "GPU-ab", "GPU-ab")],
)
def test_the_board_is_the_one_that_torch_means(device, visible, asked, monkeypatch) -> None:
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    board = Nvml()
    with PowerMeter(device, nvml=board):
        pass
    assert board.asked == [asked]


@pytest.mark.parametrize(
    ("board", "device", "reason"),
    [
        (Nvml(driver=False), "cuda", "NVML: no driver"),
        (Nvml(counter=False, power=False), "cuda", "neither energy nor power"),
        (Nvml(), "cpu", "cpu is no GPU"),
        (Nvml(), "cuda:x", "NVML: invalid literal"),
    ],
)
def test_what_cannot_be_read_is_absent_with_its_reason(board, device, reason) -> None:
    with PowerMeter(device, nvml=board) as meter:
        pass
    assert reason in meter.energy.absent and meter.energy.joules is None
    assert meter.energy.to_record(10)["joules_per_query"] is None
    assert "not known (" in meter.energy.text(10)
    assert board.open == 0


def test_without_a_driver_or_the_package_there_is_no_figure() -> None:
    with PowerMeter("cuda") as meter:
        pass
    assert (meter.energy.joules is None) == bool(meter.energy.absent)


def test_nothing_measured_is_no_energy() -> None:
    assert PowerMeter().energy == Energy(0.0, absent="nothing was measured")
