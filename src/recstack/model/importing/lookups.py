"""Which arguments of a graph reach an embedding as indices, found before it is imported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

_INDEX_ARGUMENT = {"embedding": 1, "embedding_bag": 1, "one_hot": 0}
_MOVES = frozenset(
    """select slice narrow view reshape flatten unsqueeze squeeze transpose permute t split unbind
    split_with_sizes chunk index index_select to to_copy clone contiguous expand stack cat add sub
    clamp clamp_min detach getitem""".split()  # noqa: SIM905
)


def looked_up(arguments: Sequence[Any]) -> set[int]:
    """Positions in `arguments`, placeholder nodes, whose values are moved into an embedding."""
    return {i for i, node in enumerate(arguments) if _reaches(node)}


def _reaches(start: Any) -> bool:
    seen, waiting = {start}, [start]
    while waiting:
        node = waiting.pop()
        for user in node.users:
            name = _operator(user)
            position = _INDEX_ARGUMENT.get(name)
            if position is not None and len(user.args) > position and user.args[position] is node:
                return True
            if name in _MOVES and user not in seen:
                seen.add(user)
                waiting.append(user)
    return False


def _operator(node: Any) -> str:
    if isinstance(node.target, torch._ops.OpOverload):
        return str(node.target).split(".")[1].removeprefix("_")
    return str(getattr(node.target, "__name__", ""))
