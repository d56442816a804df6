"""Every model of the zoo behind one server, asked by tritonclient with nothing made for any."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recstack.data import random_batch
from recstack.engine import compile as compile_model
from recstack.engine.reference import reference
from recstack.model import zoo
from recstack.schedule import Dispatcher
from recstack.serve import Server

ROOT = Path(__file__).resolve().parents[2]
ROWS_SCALE = 0.0005

CLIENT = """
import sys
from pathlib import Path
import numpy as np
import tritonclient.http as triton
from tritonclient.utils import np_to_triton_dtype, triton_to_np_dtype

client = triton.InferenceServerClient(sys.argv[1])
names = [model["name"] for model in client.get_model_repository_index()]
for path in sorted(Path(sys.argv[2]).glob("*.npz")):
    name = path.stem.partition("@")[0]
    assert name in names and client.is_model_ready(name)
    stored = np.load(path)
    scores = stored["scores"]
    arrays = {key[1:]: stored[key] for key in stored.files if key[0] == "."}
    metadata = client.get_model_metadata(name)
    described = {tensor["name"]: tensor for tensor in metadata["inputs"]}
    assert set(described) == set(arrays) - {"query_offsets"}
    for key, tensor in described.items():
        arrays[key] = arrays[key].astype(triton_to_np_dtype(tensor["datatype"]))
        wanted = tensor["shape"]
        assert len(wanted) == arrays[key].ndim
        assert all(n in (-1, got) for n, got in zip(wanted, arrays[key].shape))
    assert metadata["outputs"][0]["shape"] == [-1, scores.shape[1]]
    for binary in (True, False):
        inputs = []
        for key, array in arrays.items():
            kind = np_to_triton_dtype(array.dtype)
            inputs.append(triton.InferInput(key, list(array.shape), kind))
            inputs[-1].set_data_from_numpy(array, binary_data=binary)
        wanted = triton.InferRequestedOutput("scores", binary_data=binary)
        got = client.infer(name, inputs, outputs=[wanted]).as_numpy("scores")
        np.testing.assert_allclose(got, scores, rtol=1e-4, atol=1e-5, err_msg=path.stem)
client.close()
"""


def test_tritonclient_on_the_whole_zoo(tools: Any, tmp_path: Path) -> None:
    if importlib.util.find_spec("tritonclient") is None:
        pytest.skip("LOUD: tritonclient is not installed, the zoo is NOT asked by it")
    models, scopes = {}, set()
    for name in zoo.names():
        model = models[name] = zoo.build(name, seed=0, rows_scale=ROWS_SCALE)
        scopes |= {one.scope for one in model.inputs}
        for rows, queries in ((1, 1), (9, 2)):
            batch = random_batch(model, rows, seed=rows, queries=queries)
            arrays = {f".{k}": a for k, a in tools.named(batch, model.inputs).items()}
            scores = reference(model, batch)
            np.savez(tmp_path / f"{name}@{rows}.npz", scores=scores, **arrays)
    assert scopes == {"user", "item"}
    served = {n: (model, Dispatcher(compile_model(model).factory)) for n, model in models.items()}
    try:
        with Server(served) as server:
            done = subprocess.run(
                [sys.executable, "-c", CLIENT, f"127.0.0.1:{server.port}", tmp_path],
                capture_output=True, text=True, timeout=120, check=False,
                env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
            )  # fmt: skip
    finally:
        for _, dispatcher in served.values():
            dispatcher.close()
    assert done.returncode == 0, done.stderr[-3000:]
