"""Which weights are these? One number for all of them."""

from __future__ import annotations

import hashlib

import numpy as np

from recstack.model.mapped import MappedWeights
from recstack.model.model import Model


def weights_digest(model: Model) -> str:
    """A BLAKE2b digest of names, dtypes, shapes and bytes of all weights, 32 hexadecimal digits.

    The same wherever and in however many files they are stored. Reads each weight once and keeps no
    pages of mapped ones. Raises ModelFileError for a file that has been cut short.

    >>> from recstack.model import zoo
    >>> a, b = (zoo.build("ncf", seed=seed, rows_scale=1e-4) for seed in (0, 1))
    >>> weights_digest(a) == weights_digest(a), weights_digest(a) == weights_digest(b)
    (True, False)
    """
    mapped = model.weights if isinstance(model.weights, MappedWeights) else None
    if mapped is not None:
        mapped.check_whole()
    whole = hashlib.blake2b(digest_size=16)
    for name in sorted(model.weights):
        array = np.ascontiguousarray(model.weights[name])
        whole.update(f"{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        whole.update(array.reshape(-1).view(np.uint8).data)
        if mapped is not None:
            mapped.drop([name])
    return whole.hexdigest()
