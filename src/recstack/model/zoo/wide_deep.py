"""Wide & Deep (Cheng et al., DLRS 2016) and its multi-task form (Zhao et al., RecSys 2019)."""

from __future__ import annotations

from recstack.model.ops import Binary, Unary
from recstack.model.zoo.graph import Graph
from recstack.model.zoo.preset import Count, Preset, Rows, UserTables, Widths, pooled_bags


class WideDeep(Preset):
    """Dense columns beside one-lookup bags through the `deep` layers, plus a linear `wide` part.

    wide: one weight per category and per dense column, added to the deep part's logit (section
    3.1); the released artifact has none.
    """

    tables: tuple[Rows, ...] = (1_000_000,) * 27
    dim: Count = 32
    dense: Count = 512
    deep: Widths = (1024, 512, 256, 1)
    wide: bool = True
    user_scope_tables: UserTables = 0

    def assemble(self, graph: Graph) -> tuple[str, ...]:
        """The dense columns first, then the bags in order."""
        dense = graph.dense("dense", self.dense)
        lookups = (1,) * len(self.tables)
        bags = pooled_bags(
            graph, self.tables, self.dim, lookups, user_scope_tables=self.user_scope_tables
        )
        joined = graph.concat("deep_in", dense, *bags)
        if not self.wide:
            return (graph.mlp("deep", joined, self.deep, last="sigmoid"),)
        logit = graph.mlp("deep", joined, self.deep, last="none")
        weights = [
            graph.bag(f"wide_{i}", f"feature_{i}", graph.table(f"wide.{i}", rows, self.deep[-1]))
            for i, rows in enumerate(self.tables)
        ]
        wide = graph.linear("wide", graph.concat("wide_in", dense, *weights), self.deep[-1])
        both = graph.add(Binary(output="logit", inputs=(logit, wide), fn="add"))
        return (graph.add(Unary(output="score", inputs=(both,), fn="sigmoid")),)


class MultiTaskWideDeep(Preset):
    """A shared trunk, then `tasks` towers of the widths `task`, each ending in `heads` scores.

    heads None: the tower's last layer is the task's scores, as in the released artifact.
    """

    tables: tuple[Rows, ...] = (500_000,) * 41 + (5_000_000,) * 2
    dim: Count = 32
    dense: Count = 512
    shared: Widths = (1024, 512)
    task: Widths = (256, 128)
    tasks: Count = 8
    heads: Count | None = 1
    user_scope_tables: UserTables = 0

    def assemble(self, graph: Graph) -> tuple[str, ...]:
        """The dense columns first, then the bags in order; scores by task."""
        dense = graph.dense("dense", self.dense)
        lookups = (1,) * len(self.tables)
        bags = pooled_bags(
            graph, self.tables, self.dim, lookups, user_scope_tables=self.user_scope_tables
        )
        trunk = graph.mlp("shared", graph.concat("shared_in", dense, *bags), self.shared)
        tower = self.task if self.heads is None else (*self.task, self.heads)
        return tuple(
            graph.mlp(f"task_{i}", trunk, tower, last="sigmoid") for i in range(self.tasks)
        )


PROPER = WideDeep()
RELEASED = WideDeep(wide=False)
MULTI_TASK_PROPER = MultiTaskWideDeep()
MULTI_TASK_RELEASED = MultiTaskWideDeep(heads=None)
