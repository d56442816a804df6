"""Models in the manner of public libraries import whole and score as torch does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

import recstack as rs
from recstack.errors import BatchError, ModelError
from recstack.model.importing import batch_from_inputs, coverage, from_torch
from tests.model.importing import library as lib
from tests.model.importing.cases import bags, dlrm_inputs, floats, ids, seeded

VOCABULARIES = (11, 7, 5)
G = torch.Generator


def fields(n: int, g: G) -> Any:
    return torch.cat([ids(v, n, 1, g=g) for v in VOCABULARIES], 1), floats(n, 3, g=g)


def features(n: int, g: G) -> Any:
    return ({"price": floats(n, 1, g=g), "user": ids(30, n, g=g), "item": ids(40, n, g=g),
             "cat": ids(9, n, g=g), "age": floats(n, g=g)},)  # fmt: skip


def padded(n: int, g: G, *lead: int) -> Tensor:
    return ids(40, n, 6, g=g) * (torch.rand(n, 6, generator=g) > 0.3)


def two_tower(n: int, g: G) -> Any:
    values, offsets = bags(50, n, g)
    return {
        "item_dense": floats(n, 3, g=g), "user_id": ids(30, n, g=g), "country": ids(10, n, g=g),
        "hist": values, "hist_offsets": offsets, "item_id": ids(50, n, g=g),
    }  # fmt: skip


CASES: dict[str, tuple[Callable[[], nn.Module], Callable[[int, G], Any]]] = {
    "dlrm-weighted": (
        lambda: lib.DLRM_Net(8, (50, 30), weighted=True, itself=True, loss_threshold=0.1),
        dlrm_inputs(2, 30, 13),
    ),
    "xdeepfm": (lambda: lib.xDeepFM(VOCABULARIES), lambda n, g: fields(n, g)[:1]),
    "autoint": (
        lambda: lib.AutoIntDeepCTR(VOCABULARIES),
        lambda n, g: (torch.cat([t.float() for t in fields(n, g)], 1),),
    ),
    "dcn": (lambda: lib.DCN("vector"), fields),
    "dcn-mix": (lambda: lib.DCN("mix"), fields),
    "fibinet": (
        lib.FiBiNET,
        lambda n, g: (
            {
                "dense": floats(n, 3, g=g),
                **{f"C{i}": ids(v, n, g=g) for i, v in enumerate((11, 7, 5, 9))},
            },
        ),
    ),
    "mmoe": (lib.MMOEEinsum, features),
    "bst": (
        lambda: lib.BST().requires_grad_(False),
        lambda n, g: (ids(20, n, g=g), padded(n, g), ids(40, n, g=g, low=1)),
    ),
    "sasrec": (
        lambda: lib.SASRec(40, blocks=1),
        lambda n, g: (padded(n, g), ids(41, n, 4, g=g)),
    ),
    "sdpa": (
        lib.SDPASeq,
        lambda n, g: (ids(50, n, 7, g=g), ids(8, n, g=g, low=1), ids(50, n, g=g)),
    ),
    "two-tower": (lib.TwoTower, two_tower),
    "lstm": (
        lambda: lib.GRU4Rec("lstm", 2, True, False),
        lambda n, g: (ids(40, n, 3, g=g), ids(40, n, g=g)),
    ),
}


def torch_scores(module: nn.Module, inputs: Any) -> np.ndarray:
    with torch.no_grad():
        out = module(**inputs) if isinstance(inputs, dict) else module(*inputs)
    leaves = pytree.tree_leaves(out)
    return np.concatenate([t.numpy().reshape(t.shape[0], -1) for t in leaves], axis=1)


@pytest.mark.parametrize("name", CASES)
def test_imports_whole_and_agrees(name: str) -> None:
    make, inputs = CASES[name]
    module = seeded(make)
    model = from_torch(module, inputs(2, G().manual_seed(1)))
    assert not coverage(model).opaque, str(coverage(model))
    engine = rs.compile(model)
    for rows in (2, 7, 64) if name == "dcn-mix" else (1, 2, 7, 64):  # squeeze() drops one row
        given = inputs(rows, G().manual_seed(rows))
        want = torch_scores(module, given)
        batch = batch_from_inputs(model, given)
        np.testing.assert_allclose(rs.reference(model, batch), want, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(engine.run(batch), want, rtol=1e-5, atol=1e-5)


def test_the_order_of_a_dict_does_not_matter() -> None:
    module = seeded(lib.MMOEEinsum)
    (given,) = features(3, G().manual_seed(0))
    model = from_torch(module, (given,))
    assert {i.name for i in model.inputs} == set(given)
    want = torch_scores(module, (given,))
    for other in (dict(sorted(given.items())), dict(reversed(given.items()))):
        for inputs in ((other,), other):
            got = rs.reference(model, batch_from_inputs(model, inputs))
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
    with pytest.raises(BatchError, match="expected the arguments"):
        batch_from_inputs(model, {**given, "other": given["age"]})


def test_packed_sequences_are_refused_with_what_to_do() -> None:
    inputs = ids(40, 3, 6, g=G()), torch.tensor([1, 6, 2]), ids(40, 3, g=G())
    with pytest.raises(ModelError, match=r"expected padded sequences.*lengths - 1"):
        from_torch(lib.GRUPacked(), inputs)
