// The last few columns of a layer (often n = 1): lanes are rows instead of columns, so no lane is
// padding and each output is still one chain in the order of i.
#pragma once

#include "kernels/gemm/tile-inl.h"

namespace recstack::RECSTACK_ISA_NS {
namespace {

// Vectors of rows side by side: one chain per row is not enough to hide the FMA's latency.
constexpr int kRowVectors = RECSTACK_ISA == 0 ? 4 : 2;
// Pairs of bf16 leave no room for a second.
template <class W>
constexpr int row_vectors() {
  return RECSTACK_ISA == 3 && W::kRoundsX ? 1 : kRowVectors;
}

// column[i] = element i of x[0 .. rows], as load_x makes them of `values` columns of x.
template <class W>
RECSTACK_INLINE void load_columns(const float* x, int64_t x_stride, int64_t rows, int64_t values,
                                  V (&column)[kLanes]) {
  if (rows >= kLanes && values >= kLanes * W::kXValues) {
    RECSTACK_UNROLL
    for (int i = 0; i < kLanes; ++i) column[i] = W::load_x(x + i * x_stride);
  } else {
    const int64_t some = lesser(values, kLanes * W::kXValues);
    RECSTACK_UNROLL
    for (int i = 0; i < kLanes; ++i) {
      column[i] = i < rows ? W::load_x(x + i * x_stride, some) : zero();
    }
  }
  transpose(column);
}

template <class W, int kColumns, int kVectors>
RECSTACK_INLINE void multiply_lanes(const float* x, int64_t x_stride, int64_t rows, int64_t k,
                                    const typename W::Word* w, V (&acc)[kVectors][kColumns]) {
  constexpr int64_t kSteps = kLanes / W::kParts;
  const int64_t all = steps_of<W>(k);
  for (int64_t t = 0; t < all; t += kSteps) {
    const int64_t steps = lesser(kSteps, all - t);
    RECSTACK_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      V column[kLanes];
      load_columns<W>(x + v * kLanes * x_stride + t * W::kValues, x_stride, rows - v * kLanes,
                      k - t * W::kValues, column);
      const auto step = [&](int64_t i) {
        RECSTACK_UNROLL
        for (int part = 0; part < W::kParts; ++part) {
          const V y = column[i * W::kParts + (W::kParts - 1 - part)];
          RECSTACK_UNROLL
          for (int j = 0; j < kColumns; ++j) {
            acc[v][j] = W::multiply_add(y, W::broadcast(w[j * all + t + i], part), acc[v][j]);
          }
        }
      };
      if (steps == kSteps) {
        RECSTACK_UNROLL
        for (int i = 0; i < kSteps; ++i) step(i);
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

template <class W, int kColumns, int kVectors>
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
  const auto* w = static_cast<const typename W::Word*>(args.packed) + first * steps_of<W>(args.k);
  multiply_lanes<W, kColumns, kVectors>(args.x + r * args.x_stride, args.x_stride, rows, args.k, w,
                                        acc);
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

template <class W, int kColumns>
void narrow(const GemmArgs& args, int64_t first) {
  constexpr int kVectors = row_vectors<W>();
  for (int64_t r = 0; r < args.rows;) {
    const int64_t rows = lesser(kVectors * kLanes, args.rows - r);
    if (rows > kLanes) {
      narrow_rows<W, kColumns, kVectors>(args, first, r, rows);
    } else {
      narrow_rows<W, kColumns, 1>(args, first, r, rows);
    }
    r += rows;
  }
}

// Columns [first, n), at most kNarrow of them.
template <class W>
RECSTACK_INLINE void multiply_narrow(const GemmArgs& args, int64_t first) {
  switch (args.n - first) {
    case 1:
      return narrow<W, 1>(args, first);
#if RECSTACK_ISA >= 1
    case 2:
      return narrow<W, 2>(args, first);
#endif
#if RECSTACK_ISA >= 2
    case 3:
      return narrow<W, 3>(args, first);
    case 4:
      return narrow<W, 4>(args, first);
#endif
  }
}

}  // namespace
}  // namespace recstack::RECSTACK_ISA_NS
