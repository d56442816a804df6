"""Imports point down only; see docs/architecture.md."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "recstack"
# Bottom up. Layers of one row never import each other.
ROWS = (
    (
        "errors",
        "clock",
        "quantiles",
        "_native",
        "batch",
        "types",
        "results",
        "files",
        "memory",
        "rows",
    ),
    ("model", "data", "machine"),
    ("engine",),
    ("profile", "loadtest", "schedule", "precision"),
    ("tune", "bench", "mlperf", "simulate"),
    ("serve", "report"),
    ("cli",),
)
LEVEL = {name: level for level, row in enumerate(ROWS) for name in row}
ONLY_LAYER_0 = {"loadtest", "schedule", "report"}
TORCH_PEERS = (
    "torch_form",
    "torch_eager",
    "torch_compile",
    "aoti",
    "compiled",
    "fbgemm",
    "torch_low",
)
FILES = sorted(p for p in SOURCE.rglob("*.py") if p != SOURCE / "__init__.py")


def layer(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported_layers(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            names = [f"{module}.{a.name}" for a in node.names] if module == "recstack" else [module]
        elif isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        else:
            continue
        found |= {n.split(".")[1] for n in names if n.startswith("recstack.")}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_point_down(path: Path) -> None:
    own = layer(path)
    for other in imported_layers(path) - {own}:
        if other == "__version__":
            continue
        assert LEVEL[other] < LEVEL[own] or LEVEL[own] == LEVEL[other] == 0, (
            f"{own} imports {other}"
        )
        if own in ONLY_LAYER_0:
            assert LEVEL[other] == 0, f"{own} imports {other}, expected layer 0 only"


def test_every_module_has_a_layer() -> None:
    assert {layer(path) for path in FILES} <= set(LEVEL)


@pytest.mark.parametrize(
    ("package", "folder"),
    [
        (
            "torch",
            {
                "model/importing",
                "engine/torch_executor",
                *(f"bench/contenders/{name}" for name in TORCH_PEERS),
            },
        ),
        ("onnx", {"bench/contenders/onnx_graph", "bench/contenders/onnx_int8"}),
        ("onnxruntime", {"bench/contenders/onnxruntime", "bench/contenders/onnx_int8"}),
        ("openvino", {"bench/contenders/openvino"}),
        ("fbgemm_gpu", {"bench/contenders/fbgemm", "bench/contenders/fbgemm_low"}),
        ("mlperf_loadgen", {"mlperf/bridge"}),
        ("pynvml", {"machine/power"}),
        ("uvloop", {"serve", "loadtest"}),
        ("httptools", {"serve/http"}),
        ("prometheus_client", {"serve"}),
        ("rich", {"cli", "model", "profile"}),
        ("typer", {"cli"}),
    ],
)
def test_optional_packages_stay_in_their_rooms(package: str, folder: set[str]) -> None:
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = (
                [node.module or ""] if isinstance(node, ast.ImportFrom)
                else [a.name for a in node.names] if isinstance(node, ast.Import) else []
            )  # fmt: skip
            if any(n.split(".")[0] == package for n in names):
                where = path.relative_to(SOURCE).as_posix()
                assert any(where.startswith(f) for f in folder), f"{where} imports {package}"
