"""Where compiled artifacts are kept, and what torch's compilers are told."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from recstack.bench.contender import Setting
from recstack.model import Model
from recstack.model.ops import EmbeddingBag

OPTIONS: dict[str, Any] = {"max_autotune": True, "freezing": True}


def artifact(what: str, model: Model, setting: Setting) -> Path:
    """The file of one artifact: what, model, dense weights, rows, threads, isa, torch, options."""
    told = (
        model.description.model_dump_json(),
        _weights_key(model),
        sorted(OPTIONS.items()),
    )
    digest = hashlib.blake2b(repr(told).encode(), digest_size=6).hexdigest()
    folder = setting.cache / f"torch-{torch.__version__}" / what
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{model.name}-{setting.rows}-t{setting.threads}-{setting.isa}-{digest}.pt2"


def _weights_key(model: Model) -> str:
    """The dense weights are constants of an artifact; shape and 64 values tell them apart."""
    tables = {op.table for op in model.ops if isinstance(op, EmbeddingBag)}
    digest = hashlib.blake2b(digest_size=8)
    for name in sorted(set(model.weights) - tables):
        digest.update(repr((name, model.weights[name].shape)).encode())
        digest.update(model.weights[name].reshape(-1)[:64].tobytes())
    return digest.hexdigest()


@contextlib.contextmanager
def compiling(setting: Setting) -> Iterator[None]:
    """Inductor's cache beside the artifacts, its chatter off, and the threads of the setting.

    Choosing kernels by timing them is only right with the threads that will run them.
    """
    folder = setting.cache.resolve() / f"torch-{torch.__version__}" / "inductor"
    before = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = before or str(folder)
    torch.set_num_threads(setting.threads)
    logger, chatter = logging.getLogger("torch"), io.StringIO()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stderr(chatter),
            contextlib.redirect_stdout(chatter),
            torch.no_grad(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
        if before is None:
            del os.environ["TORCHINDUCTOR_CACHE_DIR"]
