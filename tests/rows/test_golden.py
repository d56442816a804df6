"""Stored rows are torch's and FBGEMM's, bit for bit."""

from __future__ import annotations

import fbgemm_gpu  # noqa: F401  registers the operators
import numpy as np
import pytest
import torch
from fbgemm_gpu.split_embedding_configs import SparseType
from fbgemm_gpu.split_table_batched_embeddings_ops_common import EmbeddingLocation
from fbgemm_gpu.split_table_batched_embeddings_ops_inference import (
    IntNBitTableBatchedEmbeddingBagsCodegen,
)
from fbgemm_gpu.tbe.utils import quantize_embs

from recstack.errors import ConfigError
from recstack.rows import RowFormat, RowLayout, dequantise, from_layout, quantise, to_layout

SCALED = [f for f in RowFormat if f.scaled]
OPERATORS = torch.ops.quantized
OPERATORS_FBGEMM = torch.ops.fbgemm
SPARSE = {
    RowFormat.INT8: SparseType.INT8,
    RowFormat.INT4: SparseType.INT4,
    RowFormat.INT2: SparseType.INT2,
}
# FBGEMM's `quantize_embs` copies a tensor in a way that torch warns of.
COPIES = pytest.mark.filterwarnings("ignore:To copy construct from a tensor")


def tables(dim: int) -> np.ndarray:
    random = np.random.default_rng(dim)
    table = random.standard_normal((400, dim)) * 10.0 ** random.integers(-5, 4, (400, 1))
    table[5], table[6], table[7] = 0, 0.3, -2e-3
    return table.astype(np.float32)


@pytest.mark.parametrize("dim", [4, 8, 20, 32, 64, 132])
@pytest.mark.parametrize("format", SCALED)
def test_torch_prepack(format: RowFormat, dim: int) -> None:
    table = tables(dim)
    if format is RowFormat.INT8:
        want = OPERATORS.embedding_bag_byte_prepack(torch.from_numpy(table)).numpy()
        np.testing.assert_array_equal(quantise(table, format), want)
        back = OPERATORS.embedding_bag_byte_unpack(torch.from_numpy(want)).numpy()
    else:
        pack = getattr(OPERATORS, f"embedding_bag_{format.bits}bit_prepack")
        for greedy in (False, True):
            want = pack(torch.from_numpy(table), optimized_qparams=greedy).numpy()
            np.testing.assert_array_equal(quantise(table, format, greedy=greedy), want)
        unpack = getattr(OPERATORS, f"embedding_bag_{format.bits}bit_unpack")
        back = unpack(torch.from_numpy(want)).numpy()
    size = np.abs(table).max(1, keepdims=True)
    assert (np.abs(dequantise(want, format, dim) - back) <= 3e-7 * size).all()


def test_torch_casts() -> None:
    table = tables(33)
    np.testing.assert_array_equal(
        quantise(table, RowFormat.FP16), torch.from_numpy(table).half().numpy()
    )
    want = torch.from_numpy(table).bfloat16().view(torch.uint16).numpy()
    np.testing.assert_array_equal(quantise(table, RowFormat.BF16), want)


@pytest.mark.parametrize("format", SCALED)
def test_fbgemm_fused_rows(format: RowFormat) -> None:
    table = tables(64)
    if format is RowFormat.INT8:
        want = OPERATORS_FBGEMM.FloatToFused8BitRowwiseQuantized(torch.from_numpy(table))
    else:
        fuse = OPERATORS_FBGEMM.FloatToFusedNBitRowwiseQuantizedSBHalf
        want = fuse(torch.from_numpy(table), format.bits)
    np.testing.assert_array_equal(quantise(table, format, greedy=False), want.numpy())


def front_rows(table: np.ndarray, format: RowFormat, alignment: int) -> np.ndarray:
    """`table` as FBGEMM's inference converter quantises it into its table-batched operator."""
    rows, dim = table.shape
    bags = empty_bags(rows, dim, format, alignment)
    bags.assign_embedding_weights([quantize_embs(torch.from_numpy(table), SPARSE[format])])
    return stored_in(bags).numpy().copy()


def empty_bags(
    rows: int, dim: int, format: RowFormat, alignment: int
) -> IntNBitTableBatchedEmbeddingBagsCodegen:
    bags = IntNBitTableBatchedEmbeddingBagsCodegen(
        [("t", rows, dim, SPARSE[format], EmbeddingLocation.HOST)],
        device="cpu",
        row_alignment=alignment,
        output_dtype=SparseType.FP32,
    )
    bags.initialize_weights()
    return bags


def stored_in(bags: IntNBitTableBatchedEmbeddingBagsCodegen) -> torch.Tensor:
    return bags.split_embedding_weights(split_scale_shifts=False)[0][0]


@COPIES
@pytest.mark.parametrize("alignment", [1, 16])
@pytest.mark.parametrize("dim", [8, 24, 64, 136])  # FBGEMM makes int2 rows of whole 16 bits
@pytest.mark.parametrize("format", SCALED)
def test_front_rows_are_what_fbgemm_writes(format: RowFormat, dim: int, alignment: int) -> None:
    table = tables(dim)
    want = front_rows(table, format, alignment)
    stored = quantise(table, format, greedy=False)
    front = to_layout(stored, format, dim, RowLayout.FRONT, alignment=alignment)
    np.testing.assert_array_equal(front, want)
    # Scale and bias of int8 were rounded to float16 on the way; int4 and int2 lose nothing.
    back = from_layout(want, format, dim, RowLayout.FRONT, alignment=alignment)
    again = to_layout(back, format, dim, RowLayout.FRONT, alignment=alignment)
    np.testing.assert_array_equal(again, want)
    if format is not RowFormat.INT8:
        np.testing.assert_array_equal(back, stored)
    else:
        np.testing.assert_array_equal(back[:, :dim], stored[:, :dim])
        mine, fbgemms = (np.ascontiguousarray(x[:, dim:]).view(np.float32) for x in (stored, back))
        np.testing.assert_array_equal(fbgemms, mine.astype(np.float16))


@pytest.mark.parametrize("alignment", [1, 16])
@pytest.mark.parametrize("format", SCALED)
def test_fbgemm_reads_front_rows(format: RowFormat, alignment: int) -> None:
    """Greedy ranges too: its lookups are our values, every bit."""
    dim, rows = 20, 50
    table = np.random.default_rng(2).standard_normal((rows, dim)).astype(np.float32)
    front = to_layout(quantise(table, format), format, dim, RowLayout.FRONT, alignment=alignment)
    bags = empty_bags(rows, dim, format, alignment)
    stored_in(bags).copy_(torch.from_numpy(front))
    indices = torch.arange(rows, dtype=torch.int32)
    got = bags(indices, torch.arange(rows + 1, dtype=torch.int32)).numpy()
    back = from_layout(front, format, dim, RowLayout.FRONT, alignment=alignment)
    np.testing.assert_array_equal(got, dequantise(back, format, dim))


def test_layouts_that_do_not_fit() -> None:
    stored = quantise(np.array([[0, 1e6], [0, 1]], np.float32), RowFormat.INT8)
    stored[0, -4:] = np.frombuffer(np.float32(1e6).tobytes(), np.uint8)
    with pytest.raises(ConfigError, match="float16 holds - at row 0"):
        to_layout(stored, RowFormat.INT8, 2, RowLayout.FRONT)
    with pytest.raises(ConfigError, match="expected int8, int4 or int2 rows, got bf16"):
        to_layout(stored, RowFormat.BF16, 2, RowLayout.FRONT)
    with pytest.raises(ConfigError, match="expected uint8 rows of 16 bytes"):
        from_layout(stored, RowFormat.INT8, 2, RowLayout.FRONT, alignment=16)
    assert to_layout(stored, RowFormat.INT8, 2, RowLayout.BEHIND) is stored
