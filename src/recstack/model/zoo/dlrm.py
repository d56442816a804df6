"""RM1, RM2 and RM3: DLRM at Facebook's shapes (Gupta et al., HPCA 2020; DeepRecSys, ISCA 2020).

The released models join their vectors by concatenation, and the widths of their layers follow from
it, so both variants do.
"""

from __future__ import annotations

from recstack.model.zoo.graph import Graph
from recstack.model.zoo.preset import Count, Preset, Rows, UserTables, Widths, pooled_bags


class Dlrm(Preset):
    """Bottom MLP over `dense` columns, equally long bags, concatenation, top MLP, sigmoid.

    user_scope_tables: how many features, the first ones, belong to the user.
    fixed_lengths: every bag has exactly `lookups` indices; else that is the expected number.
    """

    tables: tuple[Rows, ...]
    dim: Count
    lookups: Count
    dense: Count
    bottom: Widths
    top: Widths
    user_scope_tables: UserTables = 0
    fixed_lengths: bool = True

    def assemble(self, graph: Graph) -> tuple[str, ...]:
        """The bottom MLP's result first, then the bags in order."""
        bottom = graph.mlp("bottom", graph.dense("dense", self.dense), self.bottom)
        bags = pooled_bags(
            graph,
            self.tables,
            self.dim,
            (self.lookups,) * len(self.tables),
            user_scope_tables=self.user_scope_tables,
            fixed=self.fixed_lengths,
        )
        joined = graph.concat("interaction", bottom, *bags)
        return (graph.mlp("top", joined, self.top, last="sigmoid"),)


RM1 = Dlrm(
    tables=(4_000_000,) * 8, dim=32, lookups=80, dense=128, bottom=(64, 32), top=(256, 64, 1)
)
RM2 = Dlrm(
    tables=(500_000,) * 32, dim=64, lookups=120, dense=256, bottom=(128, 64), top=(128, 64, 1)
)
RM3 = Dlrm(
    tables=(2_000_000,) * 10,
    dim=32,
    lookups=20,
    dense=2560,
    bottom=(1024, 256, 32),
    top=(512, 256, 1),
)
