"""The client of docs/serving.md, as it stands there."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from recstack.engine import compile as compile_model
from recstack.model import zoo
from recstack.schedule import Dispatcher
from recstack.serve import Server

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", ["wnd", "din"])
def test_the_client_of_the_page_gets_scores(name: str) -> None:
    if importlib.util.find_spec("tritonclient") is None:
        pytest.skip("LOUD: tritonclient is not installed, the page's example is NOT run")
    (code,) = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs" / "serving.md").read_text(), re.DOTALL
    )
    model = zoo.build(name, rows_scale=0.0005)
    with (
        Dispatcher(compile_model(model).factory) as sut,
        Server({name: (model, sut)}) as server,
    ):
        code = code.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        )  # fmt: skip
    assert done.returncode == 0 and done.stdout.startswith("[["), done.stdout + done.stderr
