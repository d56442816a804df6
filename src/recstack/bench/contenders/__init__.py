"""The contenders, by the name that the command line knows them by."""

from __future__ import annotations

import importlib
import importlib.util

from recstack.bench.contender import Absent, Contender, Setting
from recstack.errors import ConfigError
from recstack.model import Model

# name -> module, class, the package whose absence means that the contender is missing
_KNOWN = {
    "recstack": ("recstack", "Recstack", "numpy"),
    "recstack_bf16": ("recstack", "RecstackBf16", "numpy"),
    "recstack_int8": ("recstack", "RecstackInt8", "numpy"),
    "recstack_int4": ("recstack", "RecstackInt4", "numpy"),
    "recstack_plan": ("recstack", "RecstackPlan", "numpy"),
    "torch": ("torch_eager", "torch_eager", "torch"),
    "compile": ("torch_compile", "TorchCompile", "torch"),
    "aoti": ("aoti", "Aoti", "torch"),
    "onnxruntime": ("onnxruntime", "OnnxRuntime", "onnxruntime"),
    "openvino": ("openvino", "OpenVino", "openvino"),
    "fbgemm": ("fbgemm", "Fbgemm", "fbgemm_gpu"),
    "torch_bf16": ("torch_low", "TorchBf16", "torch"),
    "torch_int8": ("torch_low", "TorchInt8", "torch"),
    "fbgemm_int8": ("fbgemm_low", "FbgemmInt8", "fbgemm_gpu"),
    "fbgemm_int4": ("fbgemm_low", "FbgemmInt4", "fbgemm_gpu"),
    "openvino_bf16": ("openvino", "OpenVinoBf16", "openvino"),
    "openvino_int8": ("openvino", "OpenVinoInt8", "openvino"),
    "onnxruntime_int8": ("onnxruntime", "OnnxRuntimeInt8", "onnxruntime"),
}
OWN = tuple(name for name in _KNOWN if name.startswith("recstack"))
PEERS = tuple(name for name in _KNOWN if name not in OWN and "_" not in name)
PLAN = "recstack_plan"
LOW_OWN = tuple(name for name in OWN[1:] if name != PLAN)
LOW_PEERS = tuple(name for name in _KNOWN if name not in OWN and "_" in name)


def chosen(peers: str) -> tuple[str, ...]:
    """Names of the peers in a comma-separated list; "all" for every fp32 one, "low" for every one
    at low precision, "none" for none.

    Raises ConfigError for an unknown name.

    >>> chosen("torch,aoti")
    ('torch', 'aoti')
    """
    groups = {"all": PEERS, "low": LOW_PEERS, "none": ()}
    names: dict[str, None] = {}
    for part in (p.strip() for p in peers.split(",")):
        if part not in groups and part not in (*PEERS, *LOW_PEERS):
            several = ", ".join((*PEERS, *LOW_PEERS))
            raise ConfigError(f"expected all, low, none or some of {several}, got {part!r}")
        names.update(dict.fromkeys(groups.get(part, (part,))))
    return tuple(names)


def prepare(name: str, model: Model, setting: Setting) -> Contender:
    """The contender `name`, ready to run `model`.

    Raises Absent when its package is not installed, Unsupported when it cannot run the model.
    """
    module, kind, package = _KNOWN[name]
    try:
        found = importlib.import_module(f"recstack.bench.contenders.{module}")
    except ModuleNotFoundError as error:
        missing = error.name or package
        raise Absent(f"no package {missing!r}: pip install 'recstack[bench]'") from None
    made: Contender = getattr(found, kind)(model, setting)
    return made


def installed(name: str) -> bool:
    """Whether the package that the contender `name` needs is there; nothing is imported."""
    return importlib.util.find_spec(_KNOWN[name][2]) is not None


def is_low(name: str) -> bool:
    """Whether a contender computes at low precision."""
    return name in (*LOW_OWN, PLAN, *LOW_PEERS)
