"""The native engine against torch eager with fused embedding calls, in one alternating run.

    python bench/engine.py                       # eight models, full-size tables, 1 thread
    python bench/engine.py --models rm1,wnd --rows-scale 0.1 --threads 2 --out out/bench.jsonl

Models are built at the released artifact's shapes. Torch's inputs are tensors in its own layout,
made before the clock starts; tables of one width are one table for it.
"""

from __future__ import annotations

import argparse
import gc
import math
from pathlib import Path

from recstack import results
from recstack.engine import Engine, EngineConfig
from recstack.engine.compare import compare
from recstack.model import zoo

MODELS = "ncf,rm1,rm2,rm3,wnd,mt-wnd,din,dien"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default=MODELS)
    parser.add_argument("--batch", default="1,4,16,64,256,1024")
    parser.add_argument("--rows-scale", type=float, default=1.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--isa", default="auto")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    sizes = [int(n) for n in given.batch.split(",")]
    config = EngineConfig(isa=given.isa, threads=given.threads)
    records, logs = [], []
    print("| model | rows | recstack us | torch us | torch / recstack |\n|---|---|---|---|---|")
    for name in given.models.split(","):
        model = zoo.build(name, variant="deeprecsys", rows_scale=given.rows_scale)
        for t in compare(Engine(model, config), sizes, torch=True, rounds=given.rounds):
            assert t.torch_us is not None
            ratio = t.torch_us[1] / t.recstack_us[1]
            logs.append(math.log(ratio))
            records.append({"record": "timing", **t.as_dict()})
            times = f"{t.recstack_us[1]:.1f} | {t.torch_us[1]:.1f}"
            print(f"| {name} | {t.rows} | {times} | {ratio:.2f} |", flush=True)
        del model
        gc.collect()
    print(
        f"\ngeometric mean {math.exp(sum(logs) / len(logs)):.2f}, worst {math.exp(min(logs)):.2f}"
    )
    if given.out:
        results.write(given.out, "bench", records, seed=0)


if __name__ == "__main__":
    main()
