"""Deep Interest Evolution Network (Zhou et al., AAAI 2019): GRU, attention, AUGRU."""

from __future__ import annotations

from math import sqrt

from recstack.model.ops import (
    AttentionLayer,
    AttentionPooling,
    Augru,
    Binary,
    Constant,
    Gru,
    Linear,
    Reshape,
    Slice,
    Softmax,
    Stack,
)
from recstack.model.ops.base import Name
from recstack.model.zoo.graph import Graph
from recstack.model.zoo.preset import Count, Preset, Rows, Widths, pooled_bags, user_or_item


class Dien(Preset):
    """A GRU reads the history (rows of the ad's table); the softmax of its states' relevance to the
    ad (eq. 14) gates the AUGRU that reads them again (eq. 16). Shorter histories are masked.

    Scores are the softmax of two logits: (no click, click).
    """

    profile_rows: Rows = 500_000
    ad_rows: Rows = 5_000_000
    context_rows: Rows = 5_000_000
    dim: Count = 32
    history: Count = 40
    hidden: Count = 64
    top: Widths = (200, 80, 2)
    user_scope: bool = True

    def assemble(self, graph: Graph) -> tuple[str, ...]:
        """Profile, final interest, ad and context side by side."""
        scope = user_or_item(self.user_scope)
        profile_ids = graph.sparse("profile", 1, scope=scope, fixed=True)
        history_ids = graph.sparse("history", self.history, scope=scope)
        ad_ids = graph.sparse("ad", 1, fixed=True)
        context_ids = graph.sparse("context", 1, fixed=True)
        ads = graph.table("tables.ad", self.ad_rows, self.dim)
        profile = graph.bag(
            "profile_row",
            profile_ids,
            graph.table("tables.profile", self.profile_rows, self.dim),
        )
        context = graph.bag(
            "context_row",
            context_ids,
            graph.table("tables.context", self.context_rows, self.dim),
        )
        history = graph.bag("history_rows", history_ids, ads, pooling="none")
        ad = graph.bag("ad_row", ad_ids, ads)
        mask = graph.mask("history_mask", history_ids)
        interest = self._interest(graph, history, ad, mask)
        joined = graph.concat("top_in", profile, interest, ad, context)
        logits = graph.dice_mlp("top", joined, self.top)
        return (graph.add(Softmax(output="score", inputs=(logits,))),)

    def _interest(self, graph: Graph, history: str, ad: str, mask: str) -> str:
        """Final interest (hidden,). Eq. 14's h W e is (W e) . h, a product and one layer."""
        states = graph.add(
            Gru(
                output="states",
                inputs=(history, mask),
                result="sequence",
                **self._gates(graph, "gru", self.dim),
            )
        )
        target = graph.linear("target", ad, self.hidden)
        weight = graph.weight("relevance.weight", (1, self.hidden), 0.5, 1.5)
        scores = graph.add(
            AttentionPooling(
                output="relevance",
                inputs=(target, states, mask),
                features=("product",),
                layers=(AttentionLayer(weight=weight),),
                normalise="softmax",
                result="scores",
            )
        )
        return graph.add(
            Augru(
                output="interest",
                inputs=(states, scores, mask),
                **self._gates(graph, "augru", self.hidden),
            )
        )

    def _gates(self, graph: Graph, name: str, width: int) -> dict[str, Name]:
        shapes = {
            "weight_ih": (3 * self.hidden, width),
            "weight_hh": (3 * self.hidden, self.hidden),
            "bias_ih": (3 * self.hidden,),
            "bias_hh": (3 * self.hidden,),
        }
        bound = 1 / sqrt(self.hidden)
        return {f: graph.weight(f"{name}.{f}", s, -bound, bound) for f, s in shapes.items()}


class DienReleased(Preset):
    """The released artifact: a table per behaviour and two plain tanh RNNs.

    The second RNN reads h + softmax(W h + b) of the first one's states, over their elements. A
    plain RNN is no op of its own: each step is a concat (x, h) and a tanh layer, unrolled, at the
    same FLOPs. The two logits pass a softmax here, a ReLU there.
    """

    profile_rows: Rows = 500_000
    behaviour_rows: Rows = 500_000
    behaviours: Count = 40
    ad_rows: Rows = 5_000_000
    context_rows: Rows = 5_000_000
    dim: Count = 32
    lookups: Count = 1
    hidden: Count = 64
    top: Widths = (200, 80, 2)

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
        start = graph.add(
            Constant(output="start", weight=graph.weight("start", (self.hidden,), 0.0, 0.0))
        )
        states = graph.add(
            Stack(output="states", inputs=self._rnn(graph, "rnn_0", behaviours, start))
        )
        gate = graph.linear("gate", states, self.hidden)
        softened = graph.add(Softmax(output="gate_softmax", inputs=(gate,)))
        mixed = graph.add(Binary(output="mixed", inputs=(states, softened), fn="add"))
        steps = [
            graph.add(Slice(output=f"mixed_{i}", inputs=(mixed,), axis=0, start=i, stop=i + 1))
            for i in range(self.behaviours)
        ]
        row = graph.add(Reshape(output="start_row", inputs=(start,), shape_to=(1, self.hidden)))
        last = self._rnn(graph, "rnn_1", steps, row)[-1]
        interest = graph.add(Reshape(output="interest", inputs=(last,), shape_to=(self.hidden,)))
        joined = graph.concat("top_in", profile, interest, ad, context)
        logits = graph.mlp("top", joined, self.top, last="none")
        return (graph.add(Softmax(output="score", inputs=(logits,))),)

    def _rnn(self, graph: Graph, name: str, steps: list[str], start: str) -> tuple[str, ...]:
        """States h_t = tanh(W [x_t, h_(t-1)] + b), one value per step."""
        width = graph.shapes[steps[0]][-1] + self.hidden
        weight = graph.matrix(f"{name}.weight", self.hidden, width)
        bias = graph.weight(f"{name}.bias", (self.hidden,), -0.1, 0.1)
        states: list[str] = []
        for i, step in enumerate(steps):
            joined = graph.concat(f"{name}_in_{i}", step, states[-1] if states else start)
            layer = Linear(
                output=f"{name}_{i}",
                inputs=(joined,),
                weight=weight,
                bias=bias,
                activation="tanh",
            )
            states.append(graph.add(layer))
        return tuple(states)


PROPER = Dien()
RELEASED = DienReleased()
