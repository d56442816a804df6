"""Clients that others wrote. Each runs in a process of its own: gevent patches what it touches."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recstack.engine.reference import reference

ROOT = Path(__file__).resolve().parents[2]

TRITON = """
import sys
import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

arrays, scores = np.load(sys.argv[2]), np.load(sys.argv[3])
client = triton.InferenceServerClient(sys.argv[1], concurrency=4)
assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("shop")
assert client.is_model_ready("shop", "1") and not client.is_model_ready("nope")
assert client.get_server_metadata()["name"] == "recstack"
metadata = client.get_model_metadata("shop")
assert [o["name"] for o in metadata["outputs"]] == ["scores"]
assert client.get_model_repository_index()[0]["state"] == "READY"
kinds = {"float32": "FP32", "int32": "INT32", "int64": "INT64"}

def inputs(binary):
    made = []
    for name in arrays.files:
        array = arrays[name]
        made.append(triton.InferInput(name, list(array.shape), kinds[str(array.dtype)]))
        made[-1].set_data_from_numpy(array, binary_data=binary)
    return made

for binary in (True, False):
    for outputs in (None, [triton.InferRequestedOutput("scores", binary_data=binary)]):
        for coding in (None, "gzip", "deflate"):
            result = client.infer(
                "shop", inputs(binary), request_id="7", outputs=outputs, timeout=10_000_000,
                request_compression_algorithm=coding, model_version="1",
            )
            np.testing.assert_array_equal(result.as_numpy("scores"), scores)
            assert result.get_response()["id"] == "7"
answers = [client.async_infer("shop", inputs(True)) for _ in range(20)]
for answer in answers:
    np.testing.assert_array_equal(answer.get_result().as_numpy("scores"), scores)
for arguments, word in (
    (("nope", inputs(True)), "expected a model of 'shop', got 'nope'"),
    (("shop", inputs(True)[:-1]), "weights"),
):
    try:
        client.infer(*arguments)
    except InferenceServerException as error:
        assert word in str(error), error
    else:
        raise AssertionError(word)
statistics = client.get_inference_statistics("shop")["model_stats"][0]
assert statistics["inference_stats"]["success"]["count"] == 32, statistics
client.close()
"""

KSERVE = """
import asyncio, sys
import numpy as np
from kserve import InferenceRESTClient, InferRequest, InferInput
from kserve.inference_client import RESTConfig

arrays, scores = np.load(sys.argv[2]), np.load(sys.argv[3])
base = "http://" + sys.argv[1]
kinds = {"float32": "FP32", "int32": "INT32", "int64": "INT64"}

def request(binary):
    inputs = []
    for name in arrays.files:
        array = arrays[name]
        inputs.append(InferInput(name, list(array.shape), kinds[str(array.dtype)]))
        inputs[-1].set_data_from_numpy(array, binary_data=binary)
    return InferRequest(model_name="shop", infer_inputs=inputs, request_id="7")

async def main():
    client = InferenceRESTClient(RESTConfig(protocol="v2", verbose=False))
    assert await client.is_server_live(base) is True
    assert await client.is_server_ready(base) is True
    assert await client.is_model_ready(base, "shop") is True
    for binary in (True, False):
        answer = await client.infer(base, request(binary), model_name="shop")
        assert answer.id == "7" and answer.model_name == "shop"
        got = answer.outputs[0].as_numpy().reshape(scores.shape)
        np.testing.assert_array_equal(got, scores)
    await client.close()

asyncio.run(main())
"""


@pytest.mark.parametrize("form", ["packed", "named"])
@pytest.mark.parametrize(("package", "script"), [("tritonclient", TRITON), ("kserve", KSERVE)])
def test_client(
    serve: Any, tools: Any, tmp_path: Path, form: str, package: str, script: str
) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"LOUD: {package} is not installed, its client is NOT tested")
    running = serve()
    batch = tools.batch(9)
    arrays = tools.packed(batch) if form == "packed" else tools.named(batch)
    if form == "named":
        script = script.replace('"weights"', '"history.weights"')
    np.savez(tmp_path / "arrays.npz", **arrays)
    if package == "tritonclient" and form == "packed":
        arrays = {k: arrays[k] for k in ("query_offsets", "dense", "user_dense", "values")}
        last = {k: getattr(batch, k) for k in ("lengths", "weights")}
        np.savez(tmp_path / "arrays.npz", **arrays, **last)
    np.save(tmp_path / "scores.npy", reference(running.model, batch))
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            script,
            f"127.0.0.1:{running.port}",
            tmp_path / "arrays.npz",
            tmp_path / "scores.npy",
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    assert done.returncode == 0, done.stderr[-3000:]
