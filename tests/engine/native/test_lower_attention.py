"""How the attention unit's first layer folds, and where its parts run."""

from __future__ import annotations

import numpy as np
import pytest

import recstack as rs
from recstack.engine.native.build import make_plan
from recstack.engine.native.lower_attention import fold_features
from recstack.model.ops.sequence import FEATURE_ORDER


@pytest.mark.parametrize("bits", range(1, 32))
def test_folded_weights_give_what_the_features_give(bits: int) -> None:
    random = np.random.default_rng(bits)
    features = tuple(f for i, f in enumerate(FEATURE_ORDER) if bits >> i & 1)
    q, k = random.normal(size=(2, 6))
    of = {"query": q, "key": k, "difference": q - k, "product": q * k, "sum": q + k}
    weight = random.normal(size=(3, 6 * len(features))).astype(np.float32)
    query, key, product = fold_features(features, weight, 6)
    got = key @ k
    got += 0 if query is None else query @ q
    got += 0 if product is None else product @ (q * k)
    np.testing.assert_allclose(got, weight @ np.concatenate([of[f] for f in features]), atol=1e-12)


@pytest.mark.parametrize("name", ["din", "dien"])
def test_a_users_history_is_worked_on_once_per_query(name: str) -> None:
    steps = make_plan(rs.zoo.build(name, rows_scale=0.0001)).steps
    assert [s.scope for s in steps if s.kind == "key_panels"] == ["user"]
    assert [s for s in steps if s.kind == "gather_user"] == []


@pytest.mark.parametrize("name", ["din", "dien"])
def test_a_users_history_gives_each_query_its_own_scores(name: str) -> None:
    model = rs.zoo.build(name, rows_scale=0.0001)
    engine = rs.compile(model)
    batches = [rs.data.random_batch(model, rows=5, queries=q, seed=3) for q in (1, 3, 5)]
    for batch in batches:
        np.testing.assert_allclose(engine.run(batch), rs.reference(model, batch), rtol=1e-5)
