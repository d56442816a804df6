"""The public surface: changing it is a decision, not an accident."""

from __future__ import annotations

import subprocess
import sys

import recstack as rs


def test_names() -> None:
    assert rs.__all__ == [
        "Batch", "Engine", "EngineConfig", "Model", "RecstackError", "batch_from_inputs", "compile",
        "data", "from_torch", "instruction_sets", "load", "reference", "zoo",
    ]  # fmt: skip
    for name in rs.__all__:
        assert hasattr(rs, name)


def test_the_readme_ten_lines(tmp_path) -> None:
    model = rs.zoo.build("rm2", seed=0, rows_scale=0.001)
    engine = rs.compile(model, rs.EngineConfig(precision="fp32", isa="auto", threads=1))
    batch = rs.data.random_batch(model, rows=64, seed=0)
    scores = engine.run(batch)
    assert scores.shape == (64, 1)
    assert abs(scores - rs.reference(model, batch)).max() < 1e-5
    model.save(tmp_path / "rm2")
    assert (rs.compile(rs.load(tmp_path / "rm2")).run(batch) == scores).all()
    assert isinstance(model.ops, tuple)
    assert all(op.kind for op in model.ops)


def test_importing_recstack_needs_no_extra() -> None:
    code = (
        "import sys, recstack, recstack.cli;"
        "extras = {'torch', 'uvloop', 'httptools', 'prometheus_client', 'sklearn', 'scipy'};"
        "sys.exit(', '.join(sorted(extras & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
