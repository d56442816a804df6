"""The contenders, by the name that the command line knows them by."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence

from recstack.bench.contender import Absent, Contender, Setting
from recstack.errors import ConfigError
from recstack.model import Model

# name -> module, class, the package whose absence means that the contender is missing
_KNOWN = {
    "recstack": ("recstack", "Recstack", "numpy"),
    "torch": ("torch_eager", "TorchEager", "torch"),
    "compile": ("torch_compile", "TorchCompile", "torch"),
    "aoti": ("aoti", "Aoti", "torch"),
    "onnxruntime": ("onnxruntime", "OnnxRuntime", "onnxruntime"),
    "openvino": ("openvino", "OpenVino", "openvino"),
    "fbgemm": ("fbgemm", "Fbgemm", "fbgemm_gpu"),
}
PEERS = tuple(name for name in _KNOWN if name != "recstack")


def chosen(peers: str) -> tuple[str, ...]:
    """Names of the peers in a comma-separated list; "all" for every one, "none" for none.

    Raises ConfigError for an unknown name.

    >>> chosen("torch,aoti")
    ('torch', 'aoti')
    """
    if peers in ("all", "none"):
        return PEERS if peers == "all" else ()
    names = tuple(dict.fromkeys(part.strip() for part in peers.split(",")))
    for name in names:
        if name not in PEERS:
            raise ConfigError(f"expected all, none or some of {', '.join(PEERS)}, got {name!r}")
    return names


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


def known() -> Sequence[str]:
    """All names, recstack first."""
    return tuple(_KNOWN)
