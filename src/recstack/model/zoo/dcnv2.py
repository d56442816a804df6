"""DLRM-DCNv2 of MLPerf Inference v3.0 to v5.1 (`dlrm-v2`), trained on Criteo 1TB multi-hot."""

from __future__ import annotations

from math import sqrt

from recstack.model.ops import Cross
from recstack.model.zoo.graph import Graph
from recstack.model.zoo.preset import Count, Preset, Rows, UserTables, Widths, pooled_bags

CRITEO_ROWS = (
    40_000_000, 39_060, 17_295, 7_424, 20_265, 3, 7_122, 1_543, 63, 40_000_000, 3_067_956, 405_282,
    10, 2_209, 11_938, 155, 4, 976, 14, 40_000_000, 40_000_000, 40_000_000, 590_152, 12_973, 108,
    36,
)  # fmt: skip
MULTI_HOT = (3, 2, 1, 2, 6, 1, 1, 1, 1, 7, 3, 8, 1, 6, 9, 5, 1, 1, 1, 12, 100, 27, 10, 3, 1, 1)


class DlrmDcnV2(Preset):
    """Bottom MLP, sum-pooled bags, low-rank cross layers (Wang et al., WWW 2021), top MLP.

    Unscaled it holds 97 GB of tables; scale it with `rows_scale`.
    """

    min_rows: Count = 3
    tables: tuple[Rows, ...] = CRITEO_ROWS
    multi_hot: tuple[Count, ...] = MULTI_HOT
    dim: Count = 128
    dense: Count = 13
    bottom: Widths = (512, 256, 128)
    cross_layers: Count = 3
    rank: Count = 512
    top: Widths = (1024, 1024, 512, 256, 1)
    user_scope_tables: UserTables = 0

    def assemble(self, graph: Graph) -> tuple[str, ...]:
        """The bottom MLP's result first, then the bags in order."""
        bottom = graph.mlp("bottom", graph.dense("dense", self.dense), self.bottom)
        bags = pooled_bags(
            graph,
            self.tables,
            self.dim,
            self.multi_hot,
            user_scope_tables=self.user_scope_tables,
        )
        x0 = x = graph.concat("interaction", bottom, *bags)
        width = graph.shapes[x0][0]
        for i in range(self.cross_layers):
            weight_v = graph.matrix(f"cross.{i}.weight_v", self.rank, width)
            weight_u = graph.matrix(f"cross.{i}.weight_u", width, self.rank)
            bias = graph.weight(
                f"cross.{i}.bias", (width,), -1 / sqrt(self.rank), 1 / sqrt(self.rank)
            )
            x = graph.add(
                Cross(
                    output=f"cross.{i}",
                    inputs=(x0, x),
                    weight_v=weight_v,
                    weight_u=weight_u,
                    bias=bias,
                )
            )
        return (graph.mlp("top", x, self.top, last="sigmoid"),)


PROPER = DlrmDcnV2()
