"""DIN and DIEN in plain torch; forward() takes tensors, gives probabilities (B, 1).

A key is an item's vector beside its category's; the history and the candidate share the tables.
Beside the papers' interest, the last layers read the sum of the history's keys and its product with
the candidate, as the authors' code has it.
Index 0 pads a history and is masked.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Dice(nn.Module):
    """Zhou et al., KDD 2018, equation 3."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width, eps=1e-8, affine=False)
        self.alpha = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.norm(x))
        return gate * x + self.alpha * (1 - gate) * x


class Tables(nn.Module):
    """Vectors of items, categories and attributes.

    items, attributes: rows of the tables; categories are attributes, with a table of their own.
    """

    def __init__(self, items: int, attributes: int, item: int, category: int) -> None:
        super().__init__()
        self.item = nn.Embedding(items, item)
        self.category = nn.Embedding(attributes, category)
        self.attributes = nn.EmbeddingBag(attributes, category, mode="sum")
        for table in (self.item, self.category, self.attributes):
            nn.init.normal_(table.weight, 0.0, 0.05)

    def keys(self, item: Tensor, category: Tensor) -> Tensor:
        """(..., item width + category width)."""
        return torch.cat([self.item(item), self.category(category)], dim=-1)


def top(width: int, hidden: Sequence[int], dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for size in hidden:
        layers += [nn.Linear(width, size), Dice(size), nn.Dropout(dropout)]
        width = size
    return nn.Sequential(*layers, nn.Linear(width, 1))


class Network(nn.Module):
    """What DIN and DIEN share: `tables`, `top`, and what they read and give."""

    tables: Tables
    top: nn.Sequential

    def forward(
        self,
        history: Tensor,
        history_category: Tensor,
        item: Tensor,
        category: Tensor,
        attributes_values: Tensor,
        attributes_offsets: Tensor,
    ) -> Tensor:
        """history, history_category (B, L), item, category (B,) int64; a bag of attributes."""
        bag = attributes_values, attributes_offsets
        return torch.sigmoid(self.logits(history, history_category, item, category, *bag))

    def joined(self, interest: Tensor, past: Tensor, candidate: Tensor, *bag: Tensor) -> Tensor:
        """(B, 1) before the sigmoid."""
        about = self.tables.attributes(*bag)
        return self.top(torch.cat([interest, past, past * candidate, candidate, about], dim=1))


class DIN(Network):
    """Deep Interest Network (Zhou et al., KDD 2018): the history weighted by its bearing on the
    candidate, weights not normalised (section 4.3)."""

    def __init__(
        self,
        items: int,
        attributes: int,
        item: int = 32,
        category: int = 16,
        unit: int = 36,
        hidden: Sequence[int] = (80, 40),
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        width = item + category
        self.tables = Tables(items, attributes, item, category)
        self.unit = nn.Sequential(nn.Linear(4 * width, unit), nn.PReLU(), nn.Linear(unit, 1))
        self.top = top(4 * width + category, hidden, dropout)

    def logits(
        self,
        history: Tensor,
        history_category: Tensor,
        item: Tensor,
        category: Tensor,
        *bag: Tensor,
    ) -> Tensor:
        keys = self.tables.keys(history, history_category)
        candidate = self.tables.keys(item, category)
        query = candidate.unsqueeze(1).expand_as(keys)
        weight = self.unit(torch.cat([query, keys, query - keys, query * keys], dim=2))
        mask = (history != 0).unsqueeze(2).to(keys.dtype)
        interest = (weight * mask * keys).sum(dim=1)
        past = (mask * keys).sum(dim=1)
        return self.joined(interest, past, candidate, *bag)


class AUGRU(nn.Module):
    """A GRU whose update gate is scaled by a score per step (Zhou et al., AAAI 2019, section 4.3).

    Weights as nn.GRUCell has them: reset, update, candidate.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.of_input = nn.Linear(width, 3 * hidden)
        self.of_state = nn.Linear(hidden, 3 * hidden)
        self.hidden = hidden

    def forward(self, x: Tensor, scores: Tensor) -> Tensor:
        """The last state (B, hidden) for x (B, L, width) and scores (B, L)."""
        state = x.new_zeros(x.size(0), self.hidden)
        for step, score in zip(self.of_input(x).unbind(1), scores.unbind(1), strict=True):
            reset_x, update_x, new_x = step.chunk(3, dim=1)
            reset_h, update_h, new_h = self.of_state(state).chunk(3, dim=1)
            reset = torch.sigmoid(reset_x + reset_h)
            update = score.unsqueeze(1) * torch.sigmoid(update_x + update_h)
            new = torch.tanh(new_x + reset * new_h)
            state = (1 - update) * state + update * new
        return state


class DIEN(Network):
    """Deep Interest Evolution Network (Zhou et al., AAAI 2019): a GRU reads the history, its
    states' relevance to the candidate gates an AUGRU that reads them again."""

    def __init__(
        self,
        items: int,
        attributes: int,
        item: int = 32,
        category: int = 16,
        hidden: Sequence[int] = (80, 40),
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        width = item + category
        self.tables = Tables(items, attributes, item, category)
        self.gru = nn.GRU(width, width, batch_first=True)
        self.relevance = nn.Linear(width, width, bias=False)
        self.augru = AUGRU(width, width)
        self.top = top(4 * width + category, hidden, dropout)

    def states(self, history: Tensor, history_category: Tensor) -> Tensor:
        """Interests (B, L, width)."""
        return self.gru(self.tables.keys(history, history_category))[0]

    def logits(
        self,
        history: Tensor,
        history_category: Tensor,
        item: Tensor,
        category: Tensor,
        *bag: Tensor,
        states: Tensor | None = None,
    ) -> Tensor:
        if states is None:
            states = self.states(history, history_category)
        candidate = self.tables.keys(item, category)
        scores = torch.einsum("blh,bh->bl", states, self.relevance(candidate))
        scores = nn.functional.softmax(scores.masked_fill(history == 0, -1e9), dim=1)
        interest = self.augru(states, scores)
        known = (history != 0).unsqueeze(2).to(states.dtype)
        past = (known * self.tables.keys(history, history_category)).sum(dim=1)
        return self.joined(interest, past, candidate, *bag)

    def next_item_loss(
        self, history: Tensor, states: Tensor, follower: Tensor, other: Tensor
    ) -> Tensor:
        """Auxiliary loss (section 4.2): a state tells the key that follows it from another.

        follower, other: keys (B, L - 1, width) of the next item and of one drawn at random.
        """
        known = (history[:, 1:] != 0).to(states.dtype)
        right = nn.functional.logsigmoid((states[:, :-1] * follower).sum(dim=2))
        wrong = nn.functional.logsigmoid(-(states[:, :-1] * other).sum(dim=2))
        return -((right + wrong) * known).sum() / known.sum().clamp(min=1)
