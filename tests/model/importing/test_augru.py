"""Hand-written AUGRU loops become one op, and only those that are AUGRUs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from recstack.model.importing import coverage, from_torch
from tests.model.importing.cases import assert_agrees, seeded


class Loop(nn.Module):
    """A GRU's states read again by an AUGRU, each step spelled out."""

    steps, hidden = 4, 5

    def __init__(self) -> None:
        super().__init__()
        self.item = nn.Embedding(20, 3)
        self.gru = nn.GRU(3, self.hidden, batch_first=True)
        self.of_x = nn.Linear(self.hidden, 3 * self.hidden)
        self.of_h = nn.Linear(self.hidden, 3 * self.hidden)
        self.out = nn.Linear(self.hidden, 1)

    def start(self, x: Tensor) -> Tensor:
        return x.new_zeros(x.size(0), self.hidden)

    def scores(self, x: Tensor) -> Tensor:
        return torch.softmax(x.sum(dim=2), dim=1)

    def projected(self, x: Tensor) -> list[Tensor]:
        return [self.of_x(step) for step in x.unbind(1)]

    def mixed(self, h: Tensor, update: Tensor, new: Tensor) -> Tensor:
        return (1 - update) * h + update * new

    def states(self, history: Tensor) -> list[Tensor]:
        x = self.gru(self.item(history))[0]
        scores, found = self.scores(x), [self.start(x)]
        for t, projected in enumerate(self.projected(x)):
            x_r, x_u, x_n = projected.chunk(3, dim=1)
            h_r, h_u, h_n = self.of_h(found[-1]).chunk(3, dim=1)
            reset = torch.sigmoid(x_r + h_r)
            update = scores[:, t].unsqueeze(1) * torch.sigmoid(x_u + h_u)
            found.append(self.mixed(found[-1], update, torch.tanh(x_n + reset * h_n)))
        return found

    def forward(self, history: Tensor) -> Tensor:
        return torch.sigmoid(self.out(self.states(history)[-1]))


class OtherOrder(Loop):
    def projected(self, x: Tensor) -> list[Tensor]:
        return list(self.of_x(x).unbind(1))

    def mixed(self, h: Tensor, update: Tensor, new: Tensor) -> Tensor:
        return new * update + h * (1 - update)


class InnerStateRead(Loop):
    def forward(self, history: Tensor) -> Tensor:
        states = self.states(history)
        return torch.sigmoid(self.out(states[-1] + states[-2]))


class LastScoreFirst(Loop):
    def scores(self, x: Tensor) -> Tensor:
        return super().scores(x).flip(1)


class StepsBackwards(Loop):
    def projected(self, x: Tensor) -> list[Tensor]:
        return super().projected(x)[::-1]


class NotFromZero(Loop):
    def start(self, x: Tensor) -> Tensor:
        return torch.full((x.size(0), self.hidden), 0.5)


class OneStepShort(Loop):
    def projected(self, x: Tensor) -> list[Tensor]:
        return super().projected(x)[:-1]


class OtherUpdate(Loop):
    def mixed(self, h: Tensor, update: Tensor, new: Tensor) -> Tensor:
        return update * h + (1 - update) * new


def given(rows: int) -> tuple[Tensor]:
    draw = torch.Generator().manual_seed(rows)
    return (torch.randint(0, 20, (rows, Loop.steps), generator=draw),)


@pytest.mark.parametrize("cls", [Loop, OtherOrder, LastScoreFirst])
def test_a_loop_is_one_op(cls: type[Loop]) -> None:
    module = seeded(cls)
    model = from_torch(module, given(3))
    kinds = [op.kind for op in model.ops]
    assert kinds.count("augru") == 1 and not {"tanh", "unary", "gru_cell"} & set(kinds)
    assert not coverage(model).opaque
    for rows in (1, 33):
        assert_agrees(model, module, given(rows))


@pytest.mark.parametrize(
    "cls", [InnerStateRead, StepsBackwards, NotFromZero, OneStepShort, OtherUpdate]
)
def test_what_is_not_an_augru_stays_as_it_is_written(cls: type[Loop]) -> None:
    module = seeded(cls)
    model = from_torch(module, given(3))
    assert "augru" not in [op.kind for op in model.ops]
    assert_agrees(model, module, given(7))
