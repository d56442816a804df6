"""What may be imported, and what is refused with which words."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from recstack.errors import MissingExtra, ModelError
from recstack.model.importing import batch_from_inputs, coverage, from_torch
from tests.model.importing.cases import assert_agrees


class Net(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor] | None = None) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        y = self.net(x)
        return y if self.function is None else self.function(y)


def test_module_in_training_mode_is_left_alone() -> None:
    module = Net().train()
    before = {k: v.clone() for k, v in module.state_dict().items()}
    model = from_torch(module, (torch.randn(5, 4),))
    assert all(m.training for m in module.modules())
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert_agrees(model, module.eval(), (torch.randn(6, 4),))


@pytest.mark.parametrize("batch", [0, 1, 2, 3, 4, 64])
def test_any_example_batch_size(batch: int) -> None:
    module = Net().eval()
    model = from_torch(module, (torch.randn(batch, 4),))
    for rows in (1, 2, 65):
        assert_agrees(model, module, (torch.randn(rows, 4),))


def test_other_float_types_become_float32() -> None:
    module = Net().double().eval()
    with pytest.warns(UserWarning, match="imported as float32"):
        model = from_torch(module, (torch.randn(3, 4, dtype=torch.float64),))
    assert {w.dtype for w in model.weights.values()} == {np.dtype(np.float32)}
    assert next(module.parameters()).dtype == torch.float64
    assert_agrees(model, module, (torch.randn(3, 4, dtype=torch.float64),))
    half = Net().bfloat16().eval()
    from_torch(half, (torch.randn(3, 4, dtype=torch.bfloat16),))
    assert next(half.parameters()).dtype == torch.bfloat16


def test_weights_keep_their_names_and_layout() -> None:
    model = from_torch(Net(), (torch.randn(3, 4),))
    names = {"net.0.weight", "net.0.bias", "net.1.weight", "net.1.running_mean"}
    assert names <= set(model.weights)
    assert all(w.flags.c_contiguous for w in model.weights.values())


def test_outputs_of_every_nesting_stand_side_by_side() -> None:
    class Many(nn.Module):
        def forward(self, x: Tensor) -> dict[str, object]:
            return {"a": x[:, 0], "b": (x[:, 1:3], None, [x.sum(1, keepdim=True)])}

    model = from_torch(Many(), (torch.randn(3, 4),))
    assert model.score_columns == (("a", 1), ("b.0", 2), ("b.2.0", 1))
    x = torch.randn(2, 4)
    got = np.asarray(
        __import__("recstack.engine.reference", fromlist=["reference"]).reference(
            model, batch_from_inputs(model, (x,))
        )
    )
    want = torch.cat([x[:, :1], x[:, 1:3], x.sum(1, keepdim=True)], 1).numpy()
    np.testing.assert_allclose(got, want, atol=1e-6)


def test_outputs_are_named_as_the_modules_dict_has_them() -> None:
    class Tasks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.click, self.sale = nn.Linear(4, 1), nn.Linear(4, 1)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            click = self.click(x).sigmoid()
            sale = click * self.sale(x).sigmoid()
            return {"sale": sale, "click": click, "again": sale, "x": x, "long" * 99: x + 1}

    module = Tasks()
    model = from_torch(module, (torch.randn(3, 4),))
    names = model.outputs
    assert names[:4] == ("sale", "click", "sale", "x")
    assert len(names[4]) < 99
    assert_agrees(model, module, (torch.randn(2, 4),))


@pytest.mark.parametrize("taken", ["x", "add"])
def test_an_output_named_as_something_else_is_numbered(taken: str) -> None:
    class Named(nn.Module):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {taken: x + 1}

    assert from_torch(Named(), (torch.randn(3, 4),)).outputs == (f"{taken}:2",)


MIXING: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda y: torch.softmax(y, dim=0),
    "centre": lambda y: y - y.mean(0),
    "total": lambda y: y / y.sum(),
    "pairs": lambda y: y @ y.t(),
    "cumulative": lambda y: torch.cumsum(y, dim=0),
    "reverse": lambda y: y.flip(0),
    "some": lambda y: y[:1].expand(y.shape[0], -1),
    "sorted": lambda y: torch.sort(y, dim=0).values,
}


@pytest.mark.parametrize("name", MIXING)
def test_scores_that_depend_on_other_rows_are_refused(name: str) -> None:
    with pytest.raises(ModelError, match=r"row|batch"):
        from_torch(Net(MIXING[name]), (torch.randn(5, 4),))


def test_refusals_say_what_is_expected() -> None:
    x = torch.randn(3, 4)
    with pytest.raises(ModelError, match=r"expected a torch\.nn\.Module, got function"):
        from_torch(torch.relu_ if False else lambda x: x, (x,))
    with pytest.raises(ModelError, match=r"tuple of positional arguments or a dict.*got Tensor"):
        from_torch(Net(), x)
    with pytest.raises(ModelError, match=r"arguments of forward\(x.*unexpected keyword argument"):
        from_torch(Net(), {"x": x, "z": x})
    with pytest.raises(ModelError, match=r"at most 1 tensors.*got 2"):
        from_torch(Net(), (x, x))
    with pytest.raises(ModelError, match=r"expected a tensor .*got int - at `example input 'x'`"):
        from_torch(Net(), (3,))
    with pytest.raises(ModelError, match="batch axis"):
        from_torch(Net(), (torch.tensor(1.0),))
    with pytest.raises(ModelError, match="fails on the example inputs: RuntimeError"):
        from_torch(Net(), (torch.randn(3, 5),))

    class Branching(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * 2 if x.sum() > 0 else x

    with pytest.raises(ModelError, match=r"row|torch\.export cannot trace"):
        from_torch(Branching(), (x,))

    class TwoSizes(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return x[:, :1]

    with pytest.raises(ModelError, match=r"expected 5 rows .*example input 'x'"):
        from_torch(TwoSizes(), (x, torch.randn(5, 4)))


def test_index_arithmetic_runs_in_torch() -> None:
    class Hashed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bag = nn.EmbeddingBag(10, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.bag(torch.bitwise_and(x, 7))

    module = Hashed()
    model = from_torch(module, (torch.arange(6).view(3, 2),))
    targets = {line.operator for line in coverage(model).opaque}
    assert targets == {"aten.bitwise_and.Scalar", "aten.embedding_bag.padding_idx"}
    assert_agrees(model, module, (torch.randint(0, 100, (5, 2)),))


def test_offsets_that_are_computed_are_refused_with_their_line() -> None:
    class Lengths(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bag = nn.EmbeddingBag(10, 3, mode="sum")

        def forward(self, values: Tensor, lengths: Tensor) -> Tensor:
            return self.bag(values, lengths.cumsum(0) - lengths)

    with pytest.raises(ModelError):
        from_torch(Lengths(), (torch.arange(6), torch.tensor([2, 0, 4])))


def test_core_imports_without_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from recstack.model.importing import from_torch\n"
        "from recstack.errors import MissingExtra\n"
        "try: from_torch(None, ())\n"
        "except MissingExtra as e: print(e)\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'recstack[torch]'" in out.stdout


def test_missing_extra_is_a_config_error() -> None:
    assert MissingExtra("torch", "torch").extra == "torch"
