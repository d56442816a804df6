"""Deep Interest Network (Zhou et al., KDD 2018): history weighted by its relevance to the ad."""

from __future__ import annotations

from math import sqrt

from recstack.model.ops import (
    AttentionLayer,
    AttentionPooling,
    Binary,
    Concat,
    Expand,
    Reduce,
    Reshape,
    Softmax,
    Stack,
)
from recstack.model.zoo.graph import Graph
from recstack.model.zoo.preset import Count, Preset, Rows, Widths, pooled_bags, user_or_item


class Din(Preset):
    """The history reads the ad's table; a unit of query, key, difference and product gives each
    position one score, not normalised (section 4.3); Dice between layers (section 5.2).

    Scores are the softmax of two logits: (no click, click).
    """

    profile_rows: Rows = 1_000_000
    ad_rows: Rows = 10_000_000
    context_rows: Rows = 10_000_000
    dim: Count = 32
    lookups: Count = 3
    history: Count = 250
    unit: Widths = (36,)
    top: Widths = (200, 80, 2)
    user_scope: bool = True

    def assemble(self, graph: Graph) -> tuple[str, ...]:
        """Profile, interest, ad and context side by side, as in figure 2."""
        scope = user_or_item(self.user_scope)
        features = {
            "profile": graph.sparse("profile", self.lookups, scope=scope),
            "history": graph.sparse("history", self.history, scope=scope),
            "ad": graph.sparse("ad", 1, fixed=True),
            "context": graph.sparse("context", self.lookups),
        }
        ads = graph.table("tables.ad", self.ad_rows, self.dim)
        profile_table = graph.table("tables.profile", self.profile_rows, self.dim)
        context_table = graph.table("tables.context", self.context_rows, self.dim)
        profile = graph.bag("profile_bag", features["profile"], profile_table)
        history = graph.bag("history_rows", features["history"], ads, pooling="none")
        ad = graph.bag("ad_row", features["ad"], ads)
        context = graph.bag("context_bag", features["context"], context_table)
        interest = graph.add(
            AttentionPooling(
                output="interest",
                inputs=(ad, history, graph.mask("history_mask", features["history"])),
                layers=attention_unit(graph, "unit", 4 * self.dim, self.unit),
            )
        )
        joined = graph.concat("top_in", profile, interest, ad, context)
        logits = graph.dice_mlp("top", joined, self.top)
        return (graph.add(Softmax(output="score", inputs=(logits,))),)


def attention_unit(
    graph: Graph, name: str, width: int, hidden: tuple[int, ...]
) -> tuple[AttentionLayer, ...]:
    """Layers of an activation unit: Dice after the hidden ones, one linear score at the end."""
    layers = []
    for i, out in enumerate((*hidden, 1)):
        weight = graph.matrix(f"{name}.{i}.weight", out, width)
        bias = graph.weight(f"{name}.{i}.bias", (out,), -0.1, 0.1)
        if i < len(hidden):
            slope, mean, variance = graph.dice_weights(f"{name}.{i}.dice", out)
            layer = AttentionLayer(
                weight=weight,
                bias=bias,
                activation="dice",
                slope=slope,
                mean=mean,
                variance=variance,
            )
        else:
            layer = AttentionLayer(weight=weight, bias=bias)
        layers.append(layer)
        width = out
    return tuple(layers)


class DinReleased(Preset):
    """The released artifact: a table per behaviour, pooled, and a unit that gives a vector.

    Each behaviour's concat(behaviour, ad, behaviour + ad) goes through 96-1-32 with ReLU; the 250
    results are summed. shared_units: one unit for all behaviours; False: one each, as the artifact
    has them, at the same FLOPs. The two logits pass a softmax here, a ReLU there.
    """

    profile_rows: Rows = 1_000_000
    behaviour_rows: Rows = 100_000
    behaviours: Count = 250
    ad_rows: Rows = 10_000_000
    context_rows: Rows = 10_000_000
    dim: Count = 32
    lookups: Count = 3
    unit: Count = 1
    top: Widths = (200, 80, 2)
    shared_units: bool = True

    def assemble(self, graph: Graph) -> tuple[str, ...]:
        """Tables in the artifact's order: profile, behaviours, ad, context."""
        rows = (
            self.profile_rows,
            *(self.behaviour_rows,) * self.behaviours,
            self.ad_rows,
            self.context_rows,
        )
        profile, *behaviours, ad, context = pooled_bags(
            graph, rows, self.dim, (self.lookups,) * len(rows)
        )
        units = self._shared if self.shared_units else self._separate
        interest = graph.add(
            Reduce(output="interest", inputs=(units(graph, behaviours, ad),), fn="sum", axes=(0,))
        )
        joined = graph.concat("top_in", profile, interest, ad, context)
        logits = graph.mlp("top", joined, self.top, last="none")
        return (graph.add(Softmax(output="score", inputs=(logits,))),)

    def _shared(self, graph: Graph, behaviours: list[str], ad: str) -> str:
        """One unit over a stack of the behaviours: (behaviours, dim)."""
        shape = (self.behaviours, self.dim)
        stacked = graph.add(Stack(output="behaviours", inputs=tuple(behaviours)))
        row = graph.add(Reshape(output="ad_as_row", inputs=(ad,), shape_to=(1, self.dim)))
        ads = graph.add(Expand(output="ads", inputs=(row,), shape_to=shape))
        total = graph.add(Binary(output="sums", inputs=(stacked, ads), fn="add"))
        joined = graph.add(Concat(output="unit_in", inputs=(stacked, ads, total)))
        return self._unit(graph, "unit", joined)

    def _separate(self, graph: Graph, behaviours: list[str], ad: str) -> str:
        """A unit per behaviour, results stacked: (behaviours, dim)."""
        vectors = []
        for i, behaviour in enumerate(behaviours):
            total = graph.add(Binary(output=f"sum_{i}", inputs=(behaviour, ad), fn="add"))
            joined = graph.concat(f"unit_in_{i}", behaviour, ad, total)
            vectors.append(self._unit(graph, f"unit_{i}", joined))
        return graph.add(Stack(output="units", inputs=tuple(vectors)))

    def _unit(self, graph: Graph, name: str, x: str) -> str:
        """Two ReLU layers; small weights in the second, as all behaviours' results are summed."""
        hidden = graph.linear(f"{name}.0", x, self.unit, "relu")
        return graph.linear(f"{name}.1", hidden, self.dim, "relu", scale=1 / sqrt(self.behaviours))


PROPER = Din()
RELEASED = DinReleased()
