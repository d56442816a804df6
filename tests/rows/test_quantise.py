"""Native quantisation against its definition, on every instruction set, and what it promises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from recstack.engine import instruction_sets
from recstack.errors import ConfigError, RowError
from recstack.rows import (
    RowFormat,
    dequantise,
    dequantise_reference,
    quantise,
    quantise_reference,
)

ISAS = [name for name, supported in instruction_sets().items() if supported]
SCALED = [f for f in RowFormat if f.scaled]
SMALL = [RowFormat.INT4, RowFormat.INT2]


def awkward(rows: int, dim: int, seed: int = 0) -> np.ndarray:
    """Gaussian rows of many sizes, and constant, zero, tiny, lone-value and negative ones."""
    random = np.random.default_rng(seed)
    table = random.standard_normal((rows, dim)) * 10.0 ** random.integers(-6, 4, (rows, 1))
    for row, value in enumerate((0.0, 0.25, -1.7, 1e-30, -1e-30, 6e4)[:rows]):
        table[-1 - row] = value
    table[0, 0] = 3.0
    return table.astype(np.float32)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dim", [1, 2, 3, 4, 7, 8, 15, 16, 17, 31, 33, 64, 65, 130])
@pytest.mark.parametrize("format", RowFormat)
def test_native_gives_the_bits_of_the_definition(format: RowFormat, dim: int, isa: str) -> None:
    for rows in (1, 15, 50):
        table = awkward(rows, dim, seed=dim)
        for greedy in (False, True):
            want = quantise_reference(table, format, greedy=greedy)
            got = quantise(table, format, greedy=greedy, isa=isa, threads=3)
            assert got.dtype == want.dtype and got.shape == want.shape
            np.testing.assert_array_equal(got.view(np.uint8), want.view(np.uint8))
    values = dequantise_reference(want, format, dim)
    np.testing.assert_allclose(
        dequantise(want, format, dim, isa=isa), values, rtol=3e-7, atol=np.abs(values).max() * 2e-7
    )


@pytest.mark.parametrize("isa", ISAS)
def test_every_16_bit_number_both_ways(isa: str) -> None:
    stored = np.arange(1 << 16, dtype=np.uint16).reshape(-1, 64)
    with np.errstate(invalid="ignore"):
        for format, rows in ((RowFormat.FP16, stored.view(np.float16)), (RowFormat.BF16, stored)):
            values = dequantise(rows, format, 64, isa=isa)
            want = dequantise_reference(rows, format, 64).astype(np.float32)
            np.testing.assert_array_equal(values, want)
            kept = values[np.isfinite(values).all(1)]
            again = quantise(kept, format, isa=isa)
            np.testing.assert_array_equal(dequantise(again, format, 64, isa=isa), kept)
            between = np.where(np.abs(kept) < 6e4, kept * np.float32(1.0005), kept)
            np.testing.assert_array_equal(
                quantise(between, format, isa=isa), quantise_reference(between, format)
            )


def error_bound(stored: np.ndarray, format: RowFormat, dim: int) -> np.ndarray:
    """(rows, 1): half a step, and what rounding scale and bias may add."""
    tail = np.ascontiguousarray(stored[:, format.values_bytes(dim) :]).view(format.tail)
    scale, bias = np.abs(tail.astype(np.float64)).T[:, :, None]
    if format is RowFormat.INT8:
        return scale / 2 + 1e-8 + 2e-7 * (255 * scale + bias)
    half_ulp = 2.0**-11
    most = (1 << format.bits) - 1
    return scale / 2 + (most * scale + bias) * half_ulp + 2.0**-25 * (most + 1)


def tables(columns: int) -> st.SearchStrategy[np.ndarray]:
    return hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 20), st.integers(1, columns)),
        elements=st.floats(-4e4, 4e4, width=32) | st.floats(-1, 1, width=32) | st.just(0.0),
    )


@settings(max_examples=150, deadline=None)
@given(
    tables(70),
    st.sampled_from(SCALED),
)
def test_no_element_is_further_off_than_half_a_step(table: np.ndarray, format: RowFormat) -> None:
    stored = quantise(table, format, greedy=False)
    dim = table.shape[1]
    error = np.abs(dequantise_reference(stored, format, dim) - table)
    assert (error <= error_bound(stored, format, dim)).all()


@pytest.mark.parametrize("greedy", [True, False])
@settings(max_examples=100, deadline=None)
@given(
    tables(40),
    st.sampled_from(SMALL),
)
def test_half_a_step_between_the_ends_and_the_ends_beyond(
    greedy: bool, table: np.ndarray, format: RowFormat
) -> None:
    check_ends(table, quantise(table, format, greedy=greedy), format)


def check_ends(table: np.ndarray, stored: np.ndarray, format: RowFormat) -> float:
    """Asserts what definition.py promises of int4 and int2; the share of values past the ends."""
    dim, most = table.shape[1], (1 << format.bits) - 1
    tail = np.ascontiguousarray(stored[:, format.values_bytes(dim) :]).view(format.tail)
    scale, bias = tail.astype(np.float64).T[:, :, None]
    # Where float16 rounds the bias up past a row's maximum, scale is negative.
    low, high = (f(bias, bias + most * scale) for f in (np.minimum, np.maximum))
    values = dequantise_reference(stored, format, dim)
    error = np.abs(values - table)
    inside = (table >= low) & (table <= high)
    # q comes of three float32 operations, each off by 2^-24 of at most `most`.
    bound = np.broadcast_to(np.abs(scale) * (0.5 + 3 * most * 2.0**-24), table.shape)
    assert (error <= bound)[inside].all()
    np.testing.assert_array_equal(values[~inside], np.clip(table, low, high)[~inside])
    span = table.max(1, keepdims=True).astype(np.float64) - table.min(1, keepdims=True)
    assert (error <= 0.16 * span + error_bound(stored, format, dim)).all()
    return float((~inside).mean())


@pytest.mark.parametrize("format", SMALL)
def test_greedy_ranges_cut_off_what_stands_out(format: RowFormat) -> None:
    table = np.random.default_rng(4).standard_normal((500, 64)).astype(np.float32)
    cut = {g: check_ends(table, quantise(table, format, greedy=g), format) for g in (True, False)}
    # Minimum to maximum, what float16 makes of bias and scale may leave out the two extremes.
    assert cut[False] <= 2 / 64 and cut[False] < cut[True]


@settings(max_examples=100, deadline=None)
@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 20), st.integers(1, 40)),
        elements=st.floats(-4e4, 4e4, width=32) | st.floats(-1, 1, width=32),
    ),
    st.sampled_from(SMALL),
)
def test_greedy_is_never_worse(table: np.ndarray, format: RowFormat) -> None:
    losses = [l2(table, quantise(table, format, greedy=g), format) for g in (True, False)]
    # The search sums squares in float32.
    assert (losses[0] <= losses[1] * (1 + 1e-5)).all()


def l2(table: np.ndarray, stored: np.ndarray, format: RowFormat) -> np.ndarray:
    values = dequantise_reference(stored, format, table.shape[1])
    return np.sqrt(((values - table) ** 2).sum(1))


def test_greedy_gains_on_gaussian_rows() -> None:
    table = np.random.default_rng(1).standard_normal((5000, 64)).astype(np.float32)
    format = RowFormat.INT4
    greedy, plain = (l2(table, quantise(table, format, greedy=g), format) for g in (True, False))
    assert (greedy < plain).mean() >= 0.3
    assert greedy.mean() < 0.97 * plain.mean()


def test_a_step_too_small_to_move_a_range_ends_the_search() -> None:
    table = 4e4 + np.arange(12, dtype=np.float32)[None] * np.float32(2**-8)
    stored = quantise(table, RowFormat.INT4)
    np.testing.assert_array_equal(stored, quantise_reference(table, RowFormat.INT4))


def test_constant_and_zero_rows_are_kept() -> None:
    table = np.repeat(np.array([[0.0], [0.5], [-3.25], [1024.0]], np.float32), 9, axis=1)
    for format in RowFormat:
        np.testing.assert_array_equal(dequantise(quantise(table, format), format, 9), table)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("format", [f for f in RowFormat if f is not RowFormat.FP32])
def test_the_first_bad_row_is_named(format: RowFormat, isa: str) -> None:
    for row, column, value in ((0, 0, np.nan), (41, 16, np.inf), (99, 18, -np.inf)):
        table = awkward(100, 19)
        table[row, column] = table[99, 18] = value
        with pytest.raises(RowError, match=f"got {value} in column {column}") as error:
            quantise(table, format, isa=isa, threads=2)
        assert error.value.row == row


def test_threads_change_no_bit() -> None:
    table = awkward(20_001, 12)
    for format in RowFormat:
        one, three = (quantise(table, format, threads=n) for n in (1, 3))
        np.testing.assert_array_equal(one, three)
        assert np.array_equal(
            dequantise(one, format, 12, threads=1), dequantise(one, format, 12, threads=3)
        )


def test_bad_arguments() -> None:
    table = np.zeros((3, 4), np.float32)
    with pytest.raises(ConfigError, match="float32, got float64"):
        quantise(table.astype(np.float64), RowFormat.INT8)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="at `out`"):
        quantise(table, RowFormat.INT8, out=np.zeros((3, 4), np.uint8))
    with pytest.raises(ConfigError, match=r"expected int8 rows \(rows, 12\) uint8"):
        dequantise(np.zeros((3, 4), np.uint8), RowFormat.INT8, 4)
    with pytest.raises(ConfigError, match="got 'sse9'"):
        quantise(table, RowFormat.INT8, isa="sse9")
