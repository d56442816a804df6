"""Neural collaborative filtering (He et al., WWW 2017, section 3): GMF and an MLP, side by side."""

from __future__ import annotations

from recstack.model.ops import Binary
from recstack.model.zoo.graph import Graph
from recstack.model.zoo.preset import Count, Preset, Rows, Widths, user_or_item


class Ncf(Preset):
    """Four tables (two for each branch); `mlp` widths, then one layer of `outputs` scores.

    The user's id and the item's are one feature each, which both branches read.
    """

    user_rows: Rows = 140_000
    item_rows: Rows = 28_000
    dim: Count = 64
    mlp: Widths = (256, 256, 128, 64)
    outputs: Count = 1
    user_scope: bool = True

    def assemble(self, graph: Graph) -> tuple[str, ...]:
        """Product of the GMF vectors beside an MLP over the others; a sigmoid over both."""
        user = graph.sparse("user", 1, scope=user_or_item(self.user_scope), fixed=True)
        item = graph.sparse("item", 1, fixed=True)
        vectors = {
            (branch, side): graph.bag(
                f"{branch}_{side}", feature, graph.table(f"{branch}.{side}", rows, self.dim)
            )
            for branch in ("gmf", "mlp")
            for side, feature, rows in (
                ("user", user, self.user_rows),
                ("item", item, self.item_rows),
            )
        }
        product = graph.add(
            Binary(
                output="gmf",
                inputs=(vectors["gmf", "user"], vectors["gmf", "item"]),
                fn="mul",
            )
        )
        joined = graph.concat("mlp_in", vectors["mlp", "user"], vectors["mlp", "item"])
        deep = graph.mlp("mlp", joined, self.mlp)
        both = graph.concat("predict_in", product, deep)
        return (graph.linear("predict", both, self.outputs, "sigmoid"),)


class NcfReleased(Preset):
    """The released artifact: four features, tables of one branch equally large, GMF as a sum.

    Its 64 outputs pass a sigmoid here; it has a ReLU there. The second copy of the two GMF lookups
    that it runs on CPUs is left out.
    """

    gmf_rows: Rows = 140_000
    mlp_rows: Rows = 28_000
    dim: Count = 64
    mlp: Widths = (256, 256, 128, 64)
    outputs: Count = 64

    def assemble(self, graph: Graph) -> tuple[str, ...]:
        """Sum of the first two bags beside an MLP over the last two."""
        bags = []
        for i, rows in enumerate((self.gmf_rows,) * 2 + (self.mlp_rows,) * 2):
            feature = graph.sparse(f"feature_{i}", 1, fixed=True)
            bags.append(graph.bag(f"bag_{i}", feature, graph.table(f"tables.{i}", rows, self.dim)))
        added = graph.add(Binary(output="gmf", inputs=(bags[0], bags[1]), fn="add"))
        deep = graph.mlp("mlp", graph.concat("mlp_in", bags[2], bags[3]), self.mlp)
        both = graph.concat("predict_in", added, deep)
        return (graph.linear("predict", both, self.outputs, "sigmoid"),)


PROPER = Ncf()
RELEASED = NcfReleased()
