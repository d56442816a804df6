"""Which model is this? One number for what it computes and all its weights."""

from __future__ import annotations

import hashlib

import numpy as np

from recstack.model.json_text import description_text
from recstack.model.mapped import MappedWeights
from recstack.model.model import Model


def model_digest(model: Model) -> str:
    """A BLAKE2b digest of description and weights, 32 hexadecimal digits.

    The description as `model.json` has it; of the weights names, dtypes, shapes and bytes. The same
    wherever and in however many files they are stored. Reads each weight once and keeps no
    pages of mapped ones. Raises ModelFileError for a file that has been cut short.

    >>> from recstack.model import zoo
    >>> a, b = (zoo.build("ncf", seed=seed, rows_scale=1e-4) for seed in (0, 1))
    >>> model_digest(a) == model_digest(a), model_digest(a) == model_digest(b)
    (True, False)
    """
    mapped = model.weights if isinstance(model.weights, MappedWeights) else None
    if mapped is not None:
        mapped.check_whole()
    whole = hashlib.blake2b(digest_size=16)
    whole.update(description_text(model.description).encode() + b"\0")
    for name in sorted(model.weights):
        array = np.ascontiguousarray(model.weights[name])
        whole.update(f"{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        whole.update(array.reshape(-1).view(np.uint8).data)
        if mapped is not None:
            mapped.drop([name])
    return whole.hexdigest()
