"""How long a model's tables take to quantise, and what memory that needs beyond the result.

    python bench/quantise_rows.py [GB of float32 tables, default 4]

Wall and CPU seconds of `Model.with_table_formats` per format, best of two rounds (measured).
"""

from __future__ import annotations

import resource
import sys
import time

import recstack as rs
from recstack.rows import RowFormat


def main() -> None:
    wanted = float(sys.argv[1]) if len(sys.argv) > 1 else 4.0
    whole = sum(w.nbytes for w in rs.zoo.outline("rm2").weights.values()) / 1e9
    model = rs.zoo.build("rm2", rows_scale=wanted / whole)
    tables = list(model.table_formats)
    size = sum(model.weights[t].nbytes for t in tables)
    wide = model.shapes[tables[0]][1]
    print(f"{len(tables)} tables, {size / 1e9:.2f} GB of float32, {wide} columns")
    for format in (RowFormat.FP16, RowFormat.BF16, RowFormat.INT8, RowFormat.INT4, RowFormat.INT2):
        for greedy in (False, True) if format.bits < 8 else (True,):
            walls, cpus = [], []
            for _ in range(2):
                wall, cpu = time.perf_counter(), time.process_time()
                made = model.with_table_formats(dict.fromkeys(tables, format), greedy=greedy)
                walls.append(time.perf_counter() - wall)
                cpus.append(time.process_time() - cpu)
            stored = sum(made.weights[t].nbytes for t in tables)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            print(
                f"{format}{' greedy' if greedy and format.bits < 8 else '':7s} "
                f"{stored / size:6.1%} of float32: {min(walls):6.1f} s, {min(cpus):6.1f} s of CPU; "
                f"most memory so far {peak / 1e9:.2f} GB"
            )
            del made


if __name__ == "__main__":
    main()
