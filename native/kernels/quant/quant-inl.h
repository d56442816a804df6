#pragma once

#include "kernels/quant/quant.h"
#include "kernels/quant/row-inl.h"

namespace recstack::RECSTACK_ISA_NS {
namespace {

static_assert(kLanes <= kMostLanes);

constexpr float kSteps = 200.0f, kKeptSteps = 168.0f;  // of the greedy search
constexpr float kRound = 12582912.0f;                  // 1.5 * 2^23: adding it leaves integers

// Up to kLanes rows, one to a lane: columns[d * kLanes + lane].
struct Block {
  const float* columns;
  int64_t dim;
  V low, high;

  RECSTACK_INLINE V column(int64_t d) const { return load(columns + d * kLanes); }
};

struct Affine {
  V bias, scale, inverse;

  // q before rounding, cut to [0, most].
  RECSTACK_INLINE V position(V x, V most) const {
    return min(max(mul(sub(x, bias), inverse), zero()), most);
  }
};

RECSTACK_INLINE V as_half(V x) { return widen_fp16(narrow_fp16(x)); }

RECSTACK_INLINE V or_one(M if_one, V otherwise) { return select(if_one, set1(1.0f), otherwise); }

// fp16 scale and bias of a range, for q from 0 to `most`.
RECSTACK_INLINE Affine affine(V low, V high, V most) {
  const V bias = as_half(low), span = sub(high, bias);
  const V scale = or_one(eq(span, zero()), as_half(div(span, most)));
  return {bias, scale, or_one(eq(scale, zero()), div(set1(1.0f), scale))};
}

RECSTACK_INLINE V squared_error(V x, const Affine& a, V most) {
  const V q = sub(add(a.position(x, most), set1(kRound)), set1(kRound));
  const V error = sub(x, add(mul(q, a.scale), a.bias));
  return mul(error, error);
}

// Root of the sum of squares for two ranges of each row.
RECSTACK_INLINE void losses(const Block& block, const Affine& a, const Affine& b, V most, V* of_a,
                            V* of_b) {
  V sum_a = zero(), sum_b = zero();
  for (int64_t d = 0; d < block.dim; ++d) {
    const V x = block.column(d);
    sum_a = add(sum_a, squared_error(x, a, most));
    sum_b = add(sum_b, squared_error(x, b, most));
  }
  *of_a = sqrt(sum_a);
  *of_b = sqrt(sum_b);
}

// Moves block.low and block.high to where the search settles.
RECSTACK_INLINE void search(Block& block, V most) {
  V low = block.low, high = block.high;
  const V step = div(sub(high, low), set1(kSteps)), never = set1(__builtin_inff());
  V kept = mul(set1(kKeptSteps), step);
  const Affine whole = affine(low, high, most);
  V loss, same;
  losses(block, whole, whole, most, &loss, &same);
  V best = loss;
  for (;;) {
    const M searching = lt(add(low, kept), high);
    if (!any(searching)) return;
    V left, right;
    losses(block, affine(add(low, step), high, most), affine(low, sub(high, step), most), most,
           &left, &right);
    // Where the search goes on: `loss` below both neighbours and the best so far.
    const V before = select(lt(loss, left), loss, never);
    const V dip = select(lt(loss, right), before, never);
    const V found = select(searching, dip, never);
    const M better = lt(found, best);
    best = select(better, loss, best);
    block.low = select(better, low, block.low);
    block.high = select(better, high, block.high);
    const M leftwards = lt(left, right);
    loss = select(searching, select(leftwards, left, right), loss);
    const V further = select(leftwards, add(low, step), low);
    const V nearer = select(leftwards, high, sub(high, step));
    // A step too small to move either end would be taken for ever.
    kept = select(ne(further, low), kept, select(ne(nearer, high), kept, never));
    low = select(searching, further, low);
    high = select(searching, nearer, high);
  }
}

// q of the block's rows, packed, and behind it scale and bias; `rows` of the lanes are real.
template <RowFormat kFormat>
RECSTACK_INLINE void write(const Block& block, const Affine& a, V most, int64_t rows,
                           uint8_t* out) {
  constexpr int kBits = static_cast<int>(row_bits(kFormat));
  constexpr int64_t kPerWord = 32 / kBits;
  const int64_t bytes = row_values_bytes(kFormat, block.dim);
  const int64_t stride = row_bytes(kFormat, block.dim);
  int32_t words[kLanes];
  for (int64_t d = 0, at = 0; d < block.dim; d += kPerWord, at += 4) {
    I word = set1_int(0);
    for (int64_t i = lesser(kPerWord, block.dim - d) - 1; i >= 0; --i) {
      const V q = a.position(block.column(d + i), most);
      const I rounded = and_bits(bits(add(q, set1(kRound))), set1_int((1 << kBits) - 1));
      word = add(shift_left<kBits>(word), rounded);
    }
    __builtin_memcpy(words, &word, sizeof words);
    const auto n = static_cast<size_t>(lesser(4, bytes - at));
    for (int64_t r = 0; r < rows; ++r) __builtin_memcpy(out + r * stride + at, words + r, n);
  }
  float scales[kLanes], biases[kLanes];
  store(scales, a.scale);
  store(biases, a.bias);
  for (int64_t r = 0; r < rows; ++r) {
    uint8_t* tail = out + r * stride + bytes;
    if constexpr (kFormat == RowFormat::int8) {
      __builtin_memcpy(tail, scales + r, 4);
      __builtin_memcpy(tail + 4, biases + r, 4);
    } else {
      const uint16_t halves[2] = {to_fp16(scales[r]), to_fp16(biases[r])};
      __builtin_memcpy(tail, halves, 4);
    }
  }
}

// Rows [0, rows) of the table as columns, with the range of each; lanes past `rows` repeat the
// last.
RECSTACK_INLINE Block take(const QuantiseArgs& args, const float* table, int64_t rows) {
  const int64_t dim = args.dim;
  V low = set1(__builtin_inff()), high = neg(low);
  V x[kLanes];
  for (int64_t d = 0; d < dim; d += kLanes) {
    const int64_t n = lesser(kLanes, dim - d);
    RECSTACK_UNROLL
    for (int r = 0; r < kLanes; ++r) x[r] = load_n(table + lesser(r, rows - 1) * dim + d, n);
    transpose(x);
    for (int64_t c = 0; c < n; ++c) {
      low = min(x[c], low);
      high = max(x[c], high);
      store(args.scratch + (d + c) * kLanes, x[c]);
    }
  }
  return {args.scratch, dim, add(low, zero()), high};
}

// Position of the first of `rows` lanes in which x is not finite, or -1.
RECSTACK_INLINE int64_t not_finite(V x, int64_t rows) {
  float lanes[kLanes];
  store(lanes, sub(x, x));
  for (int64_t r = 0; r < rows; ++r) {
    if (lanes[r] != 0.0f) return r;
  }
  return -1;
}

template <RowFormat kFormat>
int64_t quantise_scaled(const QuantiseArgs& args) {
  constexpr bool kWide = kFormat == RowFormat::int8;
  const V most = set1(static_cast<float>((1 << row_bits(kFormat)) - 1));
  const int64_t stride = row_bytes(kFormat, args.dim);
  for (int64_t first = 0; first < args.rows; first += kLanes) {
    const int64_t rows = lesser(kLanes, args.rows - first);
    Block block = take(args, args.table + first * args.dim, rows);
    // A NaN is lost in minima and maxima; not here.
    V sum = zero();
    for (int64_t d = 0; d < args.dim; ++d) sum = add(sum, mul(block.column(d), zero()));
    if (args.dim == 0) block.low = block.high = zero();
    Affine a;
    if constexpr (kWide) {
      const V span = sub(block.high, block.low);
      a = {block.low, div(span, most), div(most, add(span, set1(1e-8f)))};
    } else {
      if (args.greedy && not_finite(sum, rows) < 0) search(block, most);
      a = affine(block.low, block.high, most);
      const M flat = eq(a.scale, zero());
      const M tiny = eq(a.inverse, set1(__builtin_inff()));
      a.scale = or_one(flat, or_one(tiny, a.scale));
      a.inverse = or_one(tiny, a.inverse);
    }
    const int64_t bad = not_finite(add(sum, add(a.scale, a.bias)), rows);
    if (bad >= 0) return first + bad;
    write<kFormat>(block, a, most, rows, args.out + first * stride);
  }
  return -1;
}

int64_t quantise_fp16(const QuantiseArgs& args) {
  auto* out = reinterpret_cast<uint16_t*>(args.out);
  for (int64_t r = 0; r < args.rows; ++r, out += args.dim) {
    const float* row = args.table + r * args.dim;
    V sum = zero();  // NaN where one is not finite as fp16
    for (int64_t d = 0; d < args.dim; d += kLanes) {
      const int64_t n = lesser(kLanes, args.dim - d);
      const Halves halves = narrow_fp16(load_n(row + d, n));
      const V back = widen_fp16(halves);
      sum = add(sum, sub(back, back));
      __builtin_memcpy(out + d, &halves, static_cast<size_t>(2 * n));
    }
    if (not_finite(sum, kLanes) >= 0) return r;
  }
  return -1;
}

int64_t quantise_bf16(const QuantiseArgs& args) {
  auto* out = reinterpret_cast<uint16_t*>(args.out);
  for (int64_t r = 0; r < args.rows; ++r, out += args.dim) {
    const float* row = args.table + r * args.dim;
    uint32_t beyond = 0;
    for (int64_t d = 0; d < args.dim; ++d) {
      out[d] = to_bf16(row[d]);
      // A NaN may round into a finite number.
      beyond |= ((out[d] & 0x7f80u) == 0x7f80u) | ((bits_of(row[d]) & 0x7f800000u) == 0x7f800000u);
    }
    if (beyond != 0) return r;
  }
  return -1;
}

int64_t quantise_fp32(const QuantiseArgs& args) {
  __builtin_memcpy(args.out, args.table, static_cast<size_t>(4 * args.rows * args.dim));
  return -1;
}

int64_t quantise(const QuantiseArgs& args) {
  switch (args.format) {
    case RowFormat::fp32:
      return quantise_fp32(args);
    case RowFormat::fp16:
      return quantise_fp16(args);
    case RowFormat::bf16:
      return quantise_bf16(args);
    case RowFormat::int8:
      return quantise_scaled<RowFormat::int8>(args);
    case RowFormat::int4:
      return quantise_scaled<RowFormat::int4>(args);
    case RowFormat::int2:
      return quantise_scaled<RowFormat::int2>(args);
  }
  return -1;
}

template <RowFormat kFormat>
void dequantise_rows(const DequantiseArgs& args) {
  const int64_t stride = row_bytes(kFormat, args.dim);
  for (int64_t r = 0; r < args.rows; ++r) {
    const Row<kFormat> row(reinterpret_cast<uintptr_t>(args.stored + r * stride), args.dim);
    float* out = args.out + r * args.dim;
    int64_t d = 0;
    for (; d + kLanes <= args.dim; d += kLanes) store(out + d, row.load(d));
    if (d < args.dim) store_n(out + d, row.load_n(d, args.dim - d), args.dim - d);
  }
}

void dequantise(const DequantiseArgs& args) {
  switch (args.format) {
    case RowFormat::fp32:
      return dequantise_rows<RowFormat::fp32>(args);
    case RowFormat::fp16:
      return dequantise_rows<RowFormat::fp16>(args);
    case RowFormat::bf16:
      return dequantise_rows<RowFormat::bf16>(args);
    case RowFormat::int8:
      return dequantise_rows<RowFormat::int8>(args);
    case RowFormat::int4:
      return dequantise_rows<RowFormat::int4>(args);
    case RowFormat::int2:
      return dequantise_rows<RowFormat::int2>(args);
  }
}

}  // namespace

extern const QuantKernels quant_table;
const QuantKernels quant_table = {
    .quantise = quantise,
    .dequantise = dequantise,
};

}  // namespace recstack::RECSTACK_ISA_NS
