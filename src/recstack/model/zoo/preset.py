"""What every preset is: frozen data that lays its ops out on a graph."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from recstack.batch import ScopeName
from recstack.errors import ConfigError
from recstack.model.zoo.graph import Graph

Count = Annotated[int, Field(ge=1, le=1 << 24)]
Rows = Annotated[int, Field(ge=1, le=1 << 31)]
Widths = Annotated[tuple[Count, ...], Field(min_length=1)]
UserTables = Annotated[int, Field(ge=0)]


class Preset(BaseModel):
    """Shapes of one model. Its fields are what `zoo.build(name, **overrides)` may override.

    min_rows: fewest rows of a table, whatever `rows_scale`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    min_rows: Count = 1

    def assemble(self, graph: Graph) -> tuple[str, ...]:
        """Lay the ops out on `graph`; names of the values that are the scores."""
        raise NotImplementedError


def user_or_item(user: bool) -> ScopeName:
    """Scope of a feature of the user: once per query, or spelled out for every row."""
    return "user" if user else "item"


def pooled_bags(
    graph: Graph,
    table_rows: tuple[int, ...],
    dim: int,
    lookups: tuple[int, ...],
    *,
    user_scope_tables: int = 0,
    fixed: bool = True,
) -> list[str]:
    """One sum-pooled bag per table; the first `user_scope_tables` features belong to the user.

    Raises ConfigError when the numbers of tables disagree.
    """
    if len(lookups) != len(table_rows):
        raise ConfigError(
            f"expected as many multi_hot sizes as tables, got {len(lookups)} and {len(table_rows)}"
        )
    if user_scope_tables > len(table_rows):
        raise ConfigError(
            f"expected at most {len(table_rows)} user_scope_tables, got {user_scope_tables}"
        )
    bags = []
    for i, (rows, length) in enumerate(zip(table_rows, lookups, strict=True)):
        scope = user_or_item(i < user_scope_tables)
        feature = graph.sparse(f"feature_{i}", length, scope=scope, fixed=fixed)
        bags.append(graph.bag(f"bag_{i}", feature, graph.table(f"tables.{i}", rows, dim)))
    return bags
