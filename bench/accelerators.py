"""Records the accelerator curves that ship: published speed-ups over torch eager measured here.

    python bench/accelerators.py --models rm1     # a quiet machine, under a minute each
    python bench/accelerators.py                  # all of them, into src/recstack/simulate/recorded

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
from recstack.schedule import Costs
from recstack.simulate.accelerators import RECORDED, VARIANT, Accelerator, read_accelerator
from recstack.tune import executor_costs

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


def recorded_costs(name: str, seconds: float, rows_scale: float) -> Costs:
    """The curve of one model, in the released artifact's shapes."""
    model = rs.zoo.build(name, variant=VARIANT[1:], rows_scale=rows_scale)
    use_threads(1)
    cpu = executor_costs(TorchExecutor(model, check=False), model, seconds=seconds)
    times = [us / speedup(SPEEDUPS[name], 1 << k) for k, us in enumerate(cpu.service_us[0])]
    times = list(np.maximum.accumulate(times))
    print(f"{name}: torch eager {[round(us) for us in cpu.service_us[0]]} us")
    print(f"{name}: {NAME}, simulated {[round(us) for us in times]} us", flush=True)
    return Costs(
        busy=(1,),
        service_us=(tuple(round(us, 1) for us in times),),
        spread=cpu.spread,
        origin="simulated",
        what=f"{model.name}, {NAME}, simulated",
    )


def main() -> None:
    """Record the models asked for; those recorded before stay."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default=",".join(SPEEDUPS))
    parser.add_argument("--seconds", type=float, default=20.0, help="of each model")
    parser.add_argument("--rows-scale", type=float, default=0.1)
    parser.add_argument("--out", type=Path, default=RECORDED / f"{NAME}.json")
    args = parser.parse_args()
    costs = dict(read_accelerator(args.out).costs) if args.out.exists() else {}
    for name in args.models.split(","):
        costs[name] = recorded_costs(name, args.seconds, args.rows_scale)
        Accelerator(
            name=NAME, origin="simulated", source=SOURCE, assumed=ASSUMED, watts=250.0,
            costs={name: costs[name] for name in SPEEDUPS if name in costs},
        ).save(args.out)  # fmt: skip


if __name__ == "__main__":
    main()
