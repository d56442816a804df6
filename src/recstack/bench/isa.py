"""Holding a whole process to an instruction set, before any peer is loaded."""

from __future__ import annotations

import os
import sys

from recstack.engine.config import choose_isa
from recstack.errors import ConfigError

# What torch, inductor's C++ compiler, MKL, oneDNN (torch's and OpenVINO's) and FBGEMM read when
# they load. OpenVINO's own element-wise kernels and its RNN heed none of it and stay at AVX-512.
AVX2 = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "TORCHINDUCTOR_CPP_MARCH": "haswell",
    "FBGEMM_ENABLE_INSTRUCTIONS": "AVX2",
}
READERS = ("torch", "openvino", "fbgemm_gpu")


def hold_process(isa: str) -> None:
    """Hold this process's peers to `isa`: "auto" leaves them free, "avx2" sets what they read.

    Raises ConfigError for another set, which peers cannot be held to, and when a peer is loaded
    already: each instruction set needs a fresh process.
    """
    if isa == "auto":
        return
    choose_isa(isa)
    if isa != "avx2":
        raise ConfigError(f"expected --isa auto or avx2 with peers, got {isa!r}")
    loaded = [name for name in READERS if name in sys.modules]
    if loaded and any(os.environ.get(name) != value for name, value in AVX2.items()):
        raise ConfigError(f"expected a fresh process, but {loaded[0]} is loaded already")
    os.environ.update(AVX2)
