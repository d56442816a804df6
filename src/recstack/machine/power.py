"""The energy that a GPU takes during a run, by NVML; where it cannot be read, why not."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

INTERVAL_S = 0.02


@dataclass(frozen=True, slots=True)
class Energy:
    """Of one board, everything on it included; the rest of the machine is not in it.

    joules: None where it could not be read; `absent` then says why.
    by: "counter", the board's own, or "samples" of its power.
    """

    seconds: float
    joules: float | None = None
    by: str = ""
    absent: str = ""

    @property
    def watts(self) -> float | None:
        """Mean power."""
        return None if self.joules is None or not self.seconds else self.joules / self.seconds

    def joules_per(self, queries: int) -> float | None:
        """Of each of so many queries."""
        return None if self.joules is None or not queries else self.joules / queries

    def to_record(self, queries: int) -> dict[str, Any]:
        """As JSON; measured, or null with the reason."""
        return {
            "origin": "measured", "seconds": self.seconds, "joules": self.joules,
            "watts": self.watts, "joules_per_query": self.joules_per(queries), "by": self.by,
            "absent": self.absent,
        }  # fmt: skip

    def text(self, queries: int) -> str:
        """For people; of each query only where there were any."""
        if self.joules is None:
            return f"power of the device: not known ({self.absent})"
        each = self.joules_per(queries)
        per_query = "" if each is None else f", {each:.4g} J per query"
        return (
            f"power of the device: {self.watts or 0.0:.1f} W{per_query} (measured, NVML {self.by}; "
            f"the board alone)"
        )


class PowerMeter:
    """Measures what a GPU takes from entering to leaving.

        with PowerMeter("cuda") as meter:
            ...
        meter.energy.joules

    device: "cuda" or "cuda:1", as torch counts; a device that is no GPU has no figure.
    nvml: the module to ask; None: `pynvml`, of the extra "gpu".
    """

    def __init__(
        self, device: str = "cuda", *, nvml: Any = None,
        clock_s: Callable[[], float] = time.perf_counter,
    ) -> None:  # fmt: skip
        self.energy = Energy(0.0, absent="nothing was measured")
        self._device = device
        self._nvml = nvml
        self._clock_s = clock_s
        self._absent = ""
        self._handle: Any = None
        self._watts: list[float] = []
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._open()
        self._began_s = self._clock_s()
        self._began_j = self._counter_j()
        if self._handle is not None and self._began_j is None:
            self._thread = threading.Thread(target=self._watch, name="recstack-power", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        seconds = self._clock_s() - self._began_s
        if self._thread is not None:
            self._stop.set()
            self._thread.join()
        ended_j = None if self._began_j is None else self._counter_j()
        if self._handle is None:
            self.energy = Energy(seconds, absent=self._absent)
        elif self._began_j is not None and ended_j is not None:
            self.energy = Energy(seconds, ended_j - self._began_j, "counter")
        elif self._watts:
            watts = sum(self._watts) / len(self._watts)
            self.energy = Energy(seconds, watts * seconds, "samples")
        else:
            self.energy = Energy(seconds, absent="NVML gives neither energy nor power")
        if self._handle is not None:
            self._nvml.nvmlShutdown()

    def _open(self) -> None:
        if not self._device.startswith("cuda"):
            self._absent = f"{self._device} is no GPU"
            return
        try:
            if self._nvml is None:
                import pynvml

                self._nvml = pynvml
            self._nvml.nvmlInit()
        except ImportError:
            self._absent = "this needs the package 'nvidia-ml-py': pip install 'recstack[gpu]'"
            return
        except self._nvml.NVMLError as error:
            self._absent = f"NVML: {error}"
            return
        try:
            self._handle = self._find(int(self._device.partition(":")[2] or 0))
        except (self._nvml.NVMLError, ValueError, IndexError) as error:
            self._absent = f"NVML: {error}"
            self._nvml.nvmlShutdown()

    def _find(self, index: int) -> Any:
        """NVML counts all boards, torch those that CUDA_VISIBLE_DEVICES leaves."""
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        name = visible.split(",")[index].strip() if visible else str(index)
        if name.isdecimal():
            return self._nvml.nvmlDeviceGetHandleByIndex(int(name))
        return self._nvml.nvmlDeviceGetHandleByUUID(name)

    def _counter_j(self) -> float | None:
        if self._handle is None:
            return None
        try:
            return float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)) / 1e3
        except self._nvml.NVMLError:
            return None

    def _watch(self) -> None:
        while not self._stop.is_set():
            try:
                watts = float(self._nvml.nvmlDeviceGetPowerUsage(self._handle)) / 1e3
            except self._nvml.NVMLError:
                return
            self._watts.append(watts)
            self._stop.wait(INTERVAL_S)
