"""Records the accelerator curves that ship: published speed-ups over torch eager measured here.

    python bench/accelerators.py --models rm1     # a quiet machine, under a minute each
    python bench/accelerators.py                  # all of them, into src/recstack/simulate/recorded
    python bench/accelerators.py --compare        # QPS@p95 with and without the device

The result is simulated: nobody ran these models on the device. `recstack accelerator MODEL
--measure` on a machine with a GPU writes a file of the same format.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np

import recstack as rs
from recstack.engine.torch_executor import TorchExecutor, use_threads
from recstack.loadtest import SLA
from recstack.loadtest.sizes import Production
from recstack.schedule import AcceleratorConfig, Costs, ScheduleConfig
from recstack.simulate import ScheduleSearch
from recstack.simulate.accelerators import RECORDED, VARIANT, Accelerator, read_accelerator
from recstack.tune import executor_costs

# p95 limits of DeepRecSys (ISCA 2020), milliseconds.
SLA_MS = {"ncf": 5, "rm1": 100, "rm2": 400, "rm3": 100, "wnd": 25, "mt-wnd": 25, "din": 100,
          "dien": 35}  # fmt: skip
# Of deeprecsched without and with the device, slack without and with it.
PAIRS = {
    "deeprecsched with / without": (0, 1),
    "slack with / without": (2, 3),
    "slack / deeprecsched, both with": (1, 3),
}
NAME = "gtx-1080-ti"
# Of 0.25 to 0.47, the range of all models but rm3: its geometric mean.
AT_ONE = math.sqrt(0.25 * 0.47)
# Execution time on Skylake over that on the device, by batch; 1.0 where the two curves cross.
SPEEDUPS = {
    "ncf": {1: AT_ONE, 75: 1.0, 1024: 2.9},
    "rm1": {1: AT_ONE, 64: 1.0, 1024: 1.1},
    "rm2": {1: AT_ONE, 16: 1.0, 1024: 1.17},
    "rm3": {1: 0.7, 3: 1.0, 1024: 3.1},
    "wnd": {1: AT_ONE, 30: 1.0, 1024: 4.6},
    "mt-wnd": {1: AT_ONE, 30: 1.0, 1024: 3.95},
    "din": {1: AT_ONE, 512: 1.0, 1024: 1.35},
    "dien": {1: AT_ONE, 128: 1.0, 1024: 2.0},
}
SOURCE = (
    "Speed-up of a GTX 1080 Ti over Skylake by batch, read off the plot released with Hsia et al., "
    "Cross-Stack Workload Characterization of Deep Recommendation Systems (IISWC 2020, "
    "arXiv 2010.05037), over torch eager on one thread, measured with bench/accelerators.py"
)
ASSUMED = (
    "the published ratio, of Caffe2 on both sides, holds over torch eager on one Zen 4 thread",
    "at batch 1 all models but rm3 have the ratio 0.34: the plot gives 0.25 to 0.47 for them",
    "crossings that the plot gives as a range: rm3 (below 4) at 3, wnd and mt-wnd (20 to 40) at "
    "30, din (above 256) at 512",
    "between these points the ratio is linear in the logarithm of the batch",
    "transfers are part of the ratio; its own power is the board's limit of 250 W",
    "batches do not overlap on the device; times spread as they did on the CPU",
)


def speedup(points: dict[int, float], rows: int) -> float:
    """Linear in log2(rows) between the points."""
    return float(np.interp(math.log2(rows), np.log2(list(points)), list(points.values())))


def recorded_costs(name: str, seconds: float, rows_scale: float) -> tuple[Costs, Costs]:
    """The device's curve of one model, in the released artifact's shapes, and the CPU's below."""
    model = rs.zoo.build(name, variant=VARIANT[1:], rows_scale=rows_scale)
    use_threads(1)
    cpu = executor_costs(
        TorchExecutor(model, check=False), model, seconds=seconds,
        what=f"{model.name}, torch eager, 1 thread, rows x {rows_scale:g}",
    )  # fmt: skip
    times = [us / speedup(SPEEDUPS[name], 1 << k) for k, us in enumerate(cpu.service_us[0])]
    times = list(np.maximum.accumulate(times))
    print(f"{name}: torch eager {[round(us) for us in cpu.service_us[0]]} us")
    print(f"{name}: {NAME}, simulated {[round(us) for us in times]} us", flush=True)
    device = Costs(
        busy=(1,),
        service_us=(tuple(round(us, 1) for us in times),),
        spread=cpu.spread,
        origin="simulated",
        what=f"{model.name}, {NAME}, simulated",
    )
    return device, cpu


def record(args: argparse.Namespace) -> None:
    """Record the models asked for; those recorded before stay."""
    before = read_accelerator(args.out) if args.out.exists() else None
    costs, over = (dict(before.costs), dict(before.over)) if before else ({}, {})
    for name in args.models.split(","):
        costs[name], over[name] = recorded_costs(name, args.seconds, args.rows_scale)
        Accelerator(
            name=NAME, origin="simulated", source=SOURCE, assumed=ASSUMED, watts=250.0,
            costs={name: costs[name] for name in SPEEDUPS if name in costs},
            over={name: over[name] for name in SPEEDUPS if name in over},
        ).save(args.out)  # fmt: skip


def compare(args: argparse.Namespace) -> None:
    """QPS@p95 with the device over that without it, by policy; simulated."""
    device = read_accelerator(args.out)
    ratios: dict[str, list[float]] = {}
    print(f"{args.lanes} lanes of torch eager + 1 {NAME}: QPS@p95, simulated")
    for name in args.models.split(","):
        accelerator = AcceleratorConfig(device=NAME, costs=device.costs[name])
        schedule = ScheduleConfig(
            lanes=args.lanes, merge_rows=0, costs=device.over[name], target_ms=SLA_MS[name],
            accelerator=accelerator, queue_queries=1 << 16, queue_rows=1 << 40,
        )  # fmt: skip
        search = ScheduleSearch(SLA(95.0, SLA_MS[name] * 10**6), Production(), seed=0)
        climbed = search.run(schedule, climb_chunk=True, climb_threshold=True)
        slack = schedule.model_copy(update={"policy": "slack"})
        ours = search.run(slack, climb_chunk=False, climb_threshold=False)
        assert climbed.schedule.accelerator and climbed.without and ours.without
        found = [f.low_qps for f in (climbed.without, climbed.best, ours.without, ours.best)]
        for label, (a, b) in PAIRS.items():
            ratios.setdefault(label, []).append(found[b] / max(found[a], 1e-9))
        print(f"{name:7s} deeprecsched {found[0]:8.0f} -> {found[1]:8.0f} (chunk "
              f"{climbed.schedule.chunk_rows}, threshold "
              f"{climbed.schedule.accelerator.threshold_rows})   slack {found[2]:8.0f} -> "
              f"{found[3]:8.0f}", flush=True)  # fmt: skip
    for label, values in ratios.items():
        mean = math.exp(float(np.log(values).mean()))
        print(
            f"{label}: geometric mean {mean:.3f}, least {min(values):.3f}, most {max(values):.3f}"
        )


def main() -> None:
    """Record, or compare with what is recorded."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default=",".join(SPEEDUPS))
    parser.add_argument("--seconds", type=float, default=20.0, help="of each model")
    parser.add_argument("--rows-scale", type=float, default=0.1)
    parser.add_argument("--compare", action="store_true", help="record nothing; simulate")
    parser.add_argument("--lanes", type=int, default=40)
    parser.add_argument("--out", type=Path, default=RECORDED / f"{NAME}.json")
    args = parser.parse_args()
    (compare if args.compare else record)(args)


if __name__ == "__main__":
    main()
