// Rows of fp32 tables to stored rows and back, for tables of any size on several threads.
//
// The formulas are recstack.rows.definition's, in fp32 without fused operations, so every set gives
// the same bits as that twin (and as FBGEMM 1.8.0 and torch 2.13). A row is a vector lane: kLanes
// rows are transposed into scratch, and each step of the greedy search does all of them at once,
// the sum of squares of each row in column order. Lanes whose search has ended idle until all have.
//
// Cost per element: min-max 2 passes of some 10 operations; greedy for int4 and int2 up to 32 steps
// of 22 operations each. Reads 4 bytes, writes the format's.
#pragma once

#include <cstdint>

#include "core/isa.h"
#include "kernels/quant/format.h"

namespace recstack {

struct QuantiseArgs {
  const float* table;  // (rows, dim)
  int64_t rows;
  int64_t dim;
  RowFormat format;
  bool greedy;
  uint8_t* out;    // (rows, row_bytes(format, dim))
  float* scratch;  // quantise_scratch(dim) floats, aligned to 64
};

struct DequantiseArgs {
  const uint8_t* stored;  // (rows, row_bytes(format, dim))
  int64_t rows;
  int64_t dim;
  RowFormat format;
  float* out;  // (rows, dim)
};

constexpr int64_t kMostLanes = 16;
constexpr int64_t quantise_scratch(int64_t dim) { return dim * kMostLanes; }

struct QuantKernels {
  // The first row with a value that is not finite, or whose values, scale or bias the format cannot
  // hold, or -1. What `out` holds from that row on is of no use.
  int64_t (*quantise)(const QuantiseArgs&);
  // scale * q + bias is rounded once (scalar: twice).
  void (*dequantise)(const DequantiseArgs&);
};

const QuantKernels& quant_kernels(Isa isa);

// The same on up to `threads` threads; scratch is the call's own. Throws bad_alloc, and
// std::system_error when the system has no more threads.
int64_t quantise_table(const QuantiseArgs& args, Isa isa, int threads);
void dequantise_table(const DequantiseArgs& args, Isa isa, int threads);

}  // namespace recstack
