"""Devices that torch's executors are tested on."""

from __future__ import annotations

import pytest
import torch

NO_GPU = "NO GPU HERE: CUDA graphs, streams and page-locked memory were not tested"
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason=NO_GPU)),
]
