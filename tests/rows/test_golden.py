"""Stored rows are torch's and FBGEMM's, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recstack.errors import ConfigError
from recstack.rows import RowFormat, RowLayout, dequantise, from_layout, quantise, to_layout

SCALED = [f for f in RowFormat if f.scaled]
OPERATORS = torch.ops.quantized


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


@pytest.fixture(scope="module")
def fbgemm() -> object:
    pytest.importorskip("fbgemm_gpu", reason="fbgemm-gpu-cpu is absent: layouts go unchecked")
    from fbgemm_gpu import split_table_batched_embeddings_ops_inference as inference

    return inference


@pytest.mark.parametrize("format", SCALED)
def test_fbgemm_fused_rows(fbgemm: object, format: RowFormat) -> None:
    table = tables(64)
    if format is RowFormat.INT8:
        want = torch.ops.fbgemm.FloatToFused8BitRowwiseQuantized(torch.from_numpy(table))
    else:
        fuse = torch.ops.fbgemm.FloatToFusedNBitRowwiseQuantizedSBHalf
        want = fuse(torch.from_numpy(table), format.bits)
    np.testing.assert_array_equal(quantise(table, format, greedy=False), want.numpy())


@pytest.mark.parametrize("alignment", [1, 16])
@pytest.mark.parametrize("format", SCALED)
def test_fbgemm_table_batched_rows(fbgemm: object, format: RowFormat, alignment: int) -> None:
    """What FBGEMM's table-batched operator computes from rows converted to its layout."""
    from fbgemm_gpu.split_embedding_configs import SparseType
    from fbgemm_gpu.split_table_batched_embeddings_ops_common import EmbeddingLocation

    dim, rows = 20, 50
    table = np.random.default_rng(2).standard_normal((rows, dim)).astype(np.float32)
    stored = quantise(table, format)
    front = to_layout(stored, format, dim, RowLayout.FRONT, alignment=alignment)
    kind = {8: SparseType.INT8, 4: SparseType.INT4, 2: SparseType.INT2}[format.bits]
    bags = fbgemm.IntNBitTableBatchedEmbeddingBagsCodegen(  # type: ignore[attr-defined]
        [("t", rows, dim, kind, EmbeddingLocation.HOST)],
        device="cpu",
        row_alignment=alignment,
        output_dtype=SparseType.FP32,
    )
    bags.initialize_weights()
    bags.split_embedding_weights(split_scale_shifts=False)[0][0].copy_(torch.from_numpy(front))
    indices = np.arange(rows, dtype=np.int32)
    got = bags(torch.from_numpy(indices), torch.arange(rows + 1, dtype=torch.int32)).numpy()
    back = from_layout(front, format, dim, RowLayout.FRONT, alignment=alignment)
    np.testing.assert_allclose(got, dequantise(back, format, dim), rtol=1e-5, atol=1e-6)
    if format is not RowFormat.INT8:
        np.testing.assert_array_equal(back, stored)
    else:
        np.testing.assert_array_equal(back[:, :dim], stored[:, :dim])
        want, found = (np.ascontiguousarray(x[:, dim:]).view(np.float32) for x in (stored, back))
        np.testing.assert_array_equal(found, want.astype(np.float16))


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
