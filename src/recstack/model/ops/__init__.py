"""The closed set of ops: recommendation ops, general tensor ops, and `opaque`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from recstack.model.ops.base import Cost, FeatureOp, Op, Shape
from recstack.model.ops.dense import (
    BatchNorm,
    Cross,
    Dice,
    DotInteraction,
    LayerNorm,
    Linear,
    Prelu,
    Softmax,
)
from recstack.model.ops.embedding import EmbeddingBag, SequenceMask
from recstack.model.ops.opaque import Opaque
from recstack.model.ops.sequence import AttentionLayer, AttentionPooling, Augru, Gru, GruCell
from recstack.model.ops.tensor import (
    Binary,
    Clamp,
    Concat,
    Constant,
    Expand,
    Index,
    Matmul,
    Reduce,
    Reshape,
    Slice,
    Stack,
    Transpose,
    Unary,
    Where,
)

AnyOp = Annotated[
    EmbeddingBag
    | SequenceMask
    | Linear
    | DotInteraction
    | Cross
    | LayerNorm
    | BatchNorm
    | Prelu
    | Dice
    | Softmax
    | AttentionPooling
    | Gru
    | Augru
    | GruCell
    | Constant
    | Unary
    | Binary
    | Clamp
    | Where
    | Reduce
    | Matmul
    | Concat
    | Stack
    | Reshape
    | Transpose
    | Slice
    | Index
    | Expand
    | Opaque,
    Field(discriminator="kind"),
]

__all__ = [
    "AnyOp",
    "AttentionLayer",
    "AttentionPooling",
    "Augru",
    "BatchNorm",
    "Binary",
    "Clamp",
    "Concat",
    "Constant",
    "Cost",
    "Cross",
    "Dice",
    "DotInteraction",
    "EmbeddingBag",
    "Expand",
    "FeatureOp",
    "Gru",
    "GruCell",
    "Index",
    "LayerNorm",
    "Linear",
    "Matmul",
    "Op",
    "Opaque",
    "Prelu",
    "Reduce",
    "Reshape",
    "SequenceMask",
    "Shape",
    "Slice",
    "Softmax",
    "Stack",
    "Transpose",
    "Unary",
    "Where",
]
