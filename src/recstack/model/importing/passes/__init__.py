"""Recommendation ops recognised in general ones; each pass is one file."""

from __future__ import annotations

from recstack.model.importing.passes.attention import find_scores, pool_scores
from recstack.model.importing.passes.augru import find_scored_loops
from recstack.model.importing.passes.bags import pool_sequences
from recstack.model.importing.passes.cleanup import remove_dead, trim_dense
from recstack.model.importing.passes.cross import find_crosses
from recstack.model.importing.passes.dice import find_dices
from recstack.model.importing.passes.graph import Graph
from recstack.model.importing.passes.interaction import find_interactions
from recstack.model.importing.passes.linear import add_biases, fuse_activations
from recstack.model.importing.passes.recurrence import find_loops, share_states
from recstack.model.importing.passes.tidy import tidy

PASSES = (
    remove_dead,
    tidy,
    find_loops,
    share_states,
    tidy,
    add_biases,
    find_scored_loops,
    remove_dead,
    pool_sequences,
    find_interactions,
    find_crosses,
    find_dices,
    remove_dead,
    fuse_activations,
    remove_dead,
    find_scores,
    remove_dead,
    pool_scores,
    tidy,
    remove_dead,
    trim_dense,
)


def run_passes(graph: Graph) -> None:
    """Apply every pass, in order."""
    for one in PASSES:
        one(graph)


__all__ = ["PASSES", "Graph", "run_passes"]
