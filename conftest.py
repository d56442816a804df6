"""What is collected: doctests of modules whose optional package is here."""

from __future__ import annotations

from importlib.util import find_spec

CONTENDERS = "src/recstack/bench/contenders"
OPTIONAL = {
    "fbgemm_gpu": ["fbgemm.py", "fbgemm_low.py"],
    "onnx": ["onnx_graph.py", "onnx_int8.py", "onnxruntime.py", "openvino.py"],
    "onnxruntime": ["onnx_int8.py", "onnxruntime.py", "openvino.py"],
    "openvino": ["openvino.py"],
}
collect_ignore = [
    f"{CONTENDERS}/{name}"
    for package, names in OPTIONAL.items()
    if find_spec(package) is None
    for name in names
]
