// The last few columns of a layer (often n = 1): lanes are rows instead of columns, so no lane is
// padding and each output is still one chain in the order of i.
#pragma once

#include "kernels/gemm/tile-inl.h"

namespace recstack::RECSTACK_ISA_NS {
namespace {

// Vectors of rows side by side: one chain per row is not enough to hide the FMA's latency.
constexpr int kRowVectors = RECSTACK_ISA == 0 ? 4 : 2;
constexpr int64_t kRowLanes = kRowVectors * kLanes;

// column[i] = x[0 .. rows, i] for i < steps.
RECSTACK_INLINE void load_columns(const float* x, int64_t x_stride, int64_t rows, int64_t steps,
                                  V (&column)[kLanes]) {
  if (rows >= kLanes && steps == kLanes) {
    RECSTACK_UNROLL
    for (int i = 0; i < kLanes; ++i) column[i] = load(x + i * x_stride);
  } else {
    RECSTACK_UNROLL
    for (int i = 0; i < kLanes; ++i) {
      column[i] = i < rows ? load_n(x + i * x_stride, steps) : zero();
    }
  }
  transpose(column);
}

template <int kColumns, int kVectors>
RECSTACK_INLINE void multiply_lanes(const float* x, int64_t x_stride, int64_t rows, int64_t k,
                                    const float* w, V (&acc)[kVectors][kColumns]) {
  for (int64_t t = 0; t < k; t += kLanes) {
    const int64_t steps = lesser(kLanes, k - t);
    RECSTACK_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      V column[kLanes];
      load_columns(x + v * kLanes * x_stride + t, x_stride, rows - v * kLanes, steps, column);
      const auto step = [&](int64_t i) {
        RECSTACK_UNROLL
        for (int j = 0; j < kColumns; ++j) {
          acc[v][j] = fma(column[i], set1(w[j * k + t + i]), acc[v][j]);
        }
      };
      if (steps == kLanes) {
        RECSTACK_UNROLL
        for (int i = 0; i < kLanes; ++i) step(i);
      } else {
        for (int64_t i = 0; i < steps; ++i) step(i);
      }
    }
  }
}

// Where the chains of column j start in rows [r, r + rows), a row per lane.
RECSTACK_INLINE V start_lanes(const GemmArgs& args, int64_t j, int64_t r, int64_t rows) {
  float lane[kLanes] = {};
  for (int64_t i = 0; i < rows; ++i) {
    lane[i] = args.start[args.start_of_row[r + i] * args.start_stride + j];
  }
  return load(lane);
}

template <int kColumns, int kVectors>
RECSTACK_INLINE void narrow_rows(const GemmArgs& args, int64_t first, int64_t r, int64_t rows) {
  V acc[kVectors][kColumns];
  RECSTACK_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    RECSTACK_UNROLL
    for (int j = 0; j < kColumns; ++j) acc[v][j] = zero();
  }
  if (args.start != nullptr) {
    for (int v = 0; v < kVectors; ++v) {
      const int64_t at = r + v * kLanes, filled = lesser(kLanes, rows - v * kLanes);
      for (int j = 0; j < kColumns; ++j) acc[v][j] = start_lanes(args, first + j, at, filled);
    }
  }
  multiply_lanes<kColumns, kVectors>(args.x + r * args.x_stride, args.x_stride, rows, args.k,
                                     args.packed + first * args.k, acc);
  for (int v = 0; v < kVectors; ++v) {
    for (int j = 0; j < kColumns; ++j) {
      V y = acc[v][j];
      if (args.bias != nullptr) y = add(y, set1(args.bias[first + j]));
      float lane[kLanes];
      store(lane, activate(args.activation, y));
      float* out = args.out + (r + v * kLanes) * args.out_stride + first + j;
      const int64_t filled = lesser(kLanes, rows - v * kLanes);
      for (int64_t i = 0; i < filled; ++i) out[i * args.out_stride] = lane[i];
    }
  }
}

template <int kColumns>
void narrow(const GemmArgs& args, int64_t first) {
  for (int64_t r = 0; r < args.rows;) {
    const int64_t rows = lesser(kRowLanes, args.rows - r);
    if (rows > kLanes) {
      narrow_rows<kColumns, kRowVectors>(args, first, r, rows);
    } else {
      narrow_rows<kColumns, 1>(args, first, r, rows);
    }
    r += rows;
  }
}

// Columns [first, n), at most kNarrow of them.
RECSTACK_INLINE void multiply_narrow(const GemmArgs& args, int64_t first) {
  switch (args.n - first) {
    case 1:
      return narrow<1>(args, first);
#if RECSTACK_ISA >= 1
    case 2:
      return narrow<2>(args, first);
#endif
#if RECSTACK_ISA >= 2
    case 3:
      return narrow<3>(args, first);
    case 4:
      return narrow<4>(args, first);
#endif
  }
}

}  // namespace
}  // namespace recstack::RECSTACK_ISA_NS
