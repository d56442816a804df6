"""Fits stream profiles to recorded streams, and shows how near generated streams come.

    python bench/fit_streams.py --data ../shared/data/trace_meta_dlrm --out src/recstack/data/streams/profiles

`--out` writes the profiles that ship; without it nothing is written.
"""  # noqa: E501

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from recstack.data import streams
from recstack.data.streams.recorded import read_stream
from recstack.files import write_whole

ORIGIN = (
    "facebookresearch/dlrm_datasets (MIT), reuse_{name}/table_500K as excerpted by "
    "rishucoding/reproduce_isca23_cpu_DLRM_inference"
)
CAPACITIES = (100, 1000, 5000, 10_000, 50_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/trace_meta_dlrm"))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for name in ("low", "medium"):
        recorded = read_stream(options.data / f"reuse_{name}_table_500K.txt.gz")
        profile = streams.fit(recorded, ORIGIN.format(name=name))
        if options.out:
            write_whole(options.out / f"{name}.json", profile.model_dump_json() + "\n")
        began = time.perf_counter()
        made = streams.Reuse(profile).draw(
            500_000, recorded.size, np.random.default_rng(options.seed)
        )
        took_s = time.perf_counter() - began
        print(f"{name}: {recorded.size} lookups, drawn at {made.size / took_s / 1e6:.1f} M/s")
        for which, a, b in zip(
            ("rows", "lookups"),
            streams.reuse_histogram(recorded),
            streams.reuse_histogram(made),
            strict=True,
        ):
            print(f"  largest difference of the histogram by {which}: {abs(a - b).max():.4f}")
        for capacity in CAPACITIES:
            a, b = (streams.lru_hit_rate(s, capacity) for s in (recorded, made))
            print(f"  LRU hit rate, {capacity} rows: recorded {a:.3f}, made {b:.3f}")


if __name__ == "__main__":
    main()
