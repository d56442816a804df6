"""Requantising streams: a table is never in memory as a whole in float32, let alone twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from recstack.model.requantise import PIECE_BYTES
from recstack.rows import RowFormat

ROOT = Path(__file__).parents[2]
ROWS, DIM = 600_000, 64
TABLE = ROWS * DIM * 4  # bytes, as of all below
INT8, INT4 = (f.row_bytes(DIM) / (4 * DIM) for f in (RowFormat.INT8, RowFormat.INT4))
SLACK = 12 << 20
# float32 on the way: none where it is mapped, else one piece. A piece made waits for the one that
# is written.
MOST = {
    "saved as int8": 2 * INT8 * PIECE_BYTES,
    "held as int8": INT8 * TABLE,
    "saved as int4": 2 * INT4 * PIECE_BYTES,
    "int8 saved as int4": (1 + 2 * INT4) * PIECE_BYTES,
}
# Makes a model, maps it, and reports the largest growth of anonymous memory in each way on.
CHILD = f"""
import json, sys, threading
from pathlib import Path
import numpy as np
from recstack.model import load
from recstack.rows import RowFormat
from tests.engine.draft import Draft

def anonymous():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon"))

def growth(act):
    before, peaks, done = anonymous(), [0], threading.Event()
    def watch():
        while not done.wait(0.002):
            peaks.append(anonymous() - before)
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    kept = act()
    done.set()
    watcher.join()
    return max(*peaks, anonymous() - before)

folder = Path(sys.argv[1])
d = Draft()
table = d.weight(1, {DIM})
block = np.random.default_rng(0).standard_normal((10_000, {DIM}), np.float32)
d.weights[table] = np.tile(block, ({ROWS} // len(block), 1))
d.model(d.op("embedding_bag", d.sparse(2), table=table)).save(folder / "fp32")
del d
wide = load(folder / "fp32")
int8, int4 = ({{table: f}} for f in (RowFormat.INT8, RowFormat.INT4))
found = {{
    "saved as int8": growth(lambda: wide.save(folder / "int8", table_formats=int8)),
    "held as int8": growth(lambda: wide.with_table_formats(int8)),
    "saved as int4": growth(lambda: wide.save(folder / "int4", table_formats=int4, greedy=False)),
}}
narrow = load(folder / "int8")
found["int8 saved as int4"] = growth(
    lambda: narrow.save(folder / "again", table_formats=int4, greedy=False)
)
found["a copy"] = growth(lambda: np.array(wide.weights[table]))
print(json.dumps(found))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/self/status is Linux's")
def test_no_float32_copy_of_a_table_is_made(tmp_path: Path) -> None:
    # Freed arrays go back to the system at once, so that no way on lives on what one before freed.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.pop("a copy") >= TABLE  # such a one would be seen
    assert found.keys() == MOST.keys()
    for way, grown in found.items():
        assert grown <= MOST[way] + SLACK < TABLE, way
