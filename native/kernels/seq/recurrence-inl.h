// The recurrence of recurrence.h: a block of rows times a panel of three gates, gates applied where
// the sums end.
#pragma once

#include "core/vec.h"
#include "kernels/seq/gates-inl.h"
#include "kernels/seq/recurrence.h"

namespace recstack::RECSTACK_ISA_NS {
namespace {

constexpr int kGates = 3;
// Rows at once: kGates accumulators each, the panel's vectors and one broadcast.
constexpr int kStateRows = RECSTACK_ISA >= 2 ? 8 : 4;

int64_t recurrence_packed_size(int64_t hidden) {
  return (hidden + kLanes - 1) / kLanes * kLanes * kGates * hidden;
}

// Per vector of hidden units a panel (hidden, kGates, kLanes), zeros past the last unit.
void pack_recurrence_f32(const float* weight_hh, int64_t hidden, float* packed) {
  for (int64_t j = 0; j < hidden; j += kLanes) {
    for (int64_t i = 0; i < hidden; ++i) {
      for (int64_t gate = 0; gate < kGates; ++gate) {
        const float* w = weight_hh + gate * hidden * hidden + i;
        for (int64_t c = j; c < j + kLanes; ++c) *packed++ = c < hidden ? w[c * hidden] : 0.0f;
      }
    }
  }
}

// Where row r's state lies before and after position t.
struct States {
  const RecurrenceArgs& args;
  int64_t t;

  float* after(int64_t r, int64_t at) const {
    if (args.sequence) return args.out + r * args.out_stride + at * args.hidden;
    if (at + 1 == args.positions) return args.out + r * args.out_stride;
    return args.state + r * args.state_stride + (at % 2) * args.hidden;
  }
  const float* old(int64_t r) const { return after(r, t - 1); }
  float* fresh(int64_t r) const { return after(r, t); }
};

RECSTACK_INLINE int64_t entry_of(const int32_t* entry_of_row, int64_t r) {
  return entry_of_row == nullptr ? r : entry_of_row[r];
}

// The gates of row r for hidden units [j, j + lanes); hg without its bias.
RECSTACK_INLINE void finish_row(const States& states, int64_t r, int64_t j, const float* hg) {
  const RecurrenceArgs& args = states.args;
  const int64_t lanes = lesser(kLanes, args.hidden - j);
  const V old = states.t == 0 ? zero() : load_n(states.old(r) + j, lanes);
  float* out = states.fresh(r) + j;
  const int64_t mask_at = entry_of(args.mask_entry_of_row, r) * args.mask_stride + states.t;
  if (args.mask != nullptr && args.mask[mask_at] == 0.0f) return store_n(out, old, lanes);
  const float* xg = args.xg + entry_of(args.xg_entry_of_row, r) * args.xg_stride +
                    states.t * kGates * args.hidden + j;
  V x[kGates], h[kGates];
  RECSTACK_UNROLL
  for (int g = 0; g < kGates; ++g) {
    x[g] = load_n(xg + g * args.hidden, lanes);
    h[g] = load(hg + g * kLanes);
    if (args.bias != nullptr) h[g] = add(h[g], load_n(args.bias + g * args.hidden + j, lanes));
  }
  if (args.attention != nullptr) {
    const V score = set1(args.attention[r * args.attention_stride + states.t]);
    store_n(out, gates<true>(x, h, old, score), lanes);
  } else {
    store_n(out, gates<false>(x, h, old, zero()), lanes);
  }
}

// Rows [r, r + kRows), hidden units [j, j + kVectors * kLanes).
template <int kRows, int kVectors>
void state_block(const States& states, int64_t r, int64_t j) {
  const int64_t hidden = states.args.hidden;
  const int64_t panel = hidden * kGates * kLanes;
  const float* w = states.args.packed + j / kLanes * panel;
  const float* h[kRows];
  V acc[kRows][kVectors][kGates];
  RECSTACK_UNROLL
  for (int m = 0; m < kRows; ++m) {
    h[m] = states.t == 0 ? nullptr : states.old(r + m);
    RECSTACK_UNROLL
    for (int v = 0; v < kVectors * kGates; ++v) acc[m][v / kGates][v % kGates] = zero();
  }
  const int64_t steps = states.t == 0 ? 0 : hidden;
  for (int64_t i = 0; i < steps; ++i, w += kGates * kLanes) {
    V x[kRows];
    if constexpr (kVectors > 1) {
      RECSTACK_UNROLL
      for (int m = 0; m < kRows; ++m) x[m] = set1(h[m][i]);
    }
    RECSTACK_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      V column[kGates];
      RECSTACK_UNROLL
      for (int g = 0; g < kGates; ++g) column[g] = load(w + v * panel + g * kLanes);
      RECSTACK_UNROLL
      for (int m = 0; m < kRows; ++m) {
        const V y = kVectors > 1 ? x[m] : set1(h[m][i]);
        RECSTACK_UNROLL
        for (int g = 0; g < kGates; ++g) acc[m][v][g] = fma(y, column[g], acc[m][v][g]);
      }
    }
  }
  alignas(64) float hg[kRows][kVectors][kGates * kLanes];
  RECSTACK_UNROLL
  for (int m = 0; m < kRows; ++m) {
    RECSTACK_UNROLL
    for (int v = 0; v < kVectors * kGates; ++v) {
      store(hg[m][v / kGates] + v % kGates * kLanes, acc[m][v / kGates][v % kGates]);
    }
  }
  for (int m = 0; m < kRows; ++m) {
    for (int v = 0; v < kVectors; ++v) finish_row(states, r + m, j + v * kLanes, hg[m][v]);
  }
}

using StateBlock = void (*)(const States&, int64_t, int64_t);
constexpr StateBlock kStateBlocks[] = {
    nullptr,           state_block<1, 1>, state_block<2, 1>, state_block<3, 1>, state_block<4, 1>,
#if RECSTACK_ISA >= 2
    state_block<5, 1>, state_block<6, 1>, state_block<7, 1>, state_block<8, 1>,
#endif
};
// One row alone is a chain per gate: two panels at once hide the FMA's latency better.
constexpr int64_t kPair = 2 * kLanes;

// All rows for hidden units [j, j + kLanes), or for one row [j, j + kPair).
RECSTACK_INLINE void state_columns(const States& states, int64_t j, bool pair) {
  const int64_t rows = states.args.rows;
  if (pair) return state_block<1, 2>(states, 0, j);
  const int64_t blocks = (rows + kStateRows - 1) / kStateRows;
  for (int64_t b = 0, r = 0; b < blocks; ++b) {
    const int64_t end = rows * (b + 1) / blocks;
    kStateBlocks[end - r](states, r, j);
    r = end;
  }
}

void recurrence_f32(const RecurrenceArgs& args) {
  const int64_t width = args.rows == 1 ? kPair : kLanes;
  const int64_t panels = (args.hidden + width - 1) / width;
  for (int64_t t = 0; t < args.positions; ++t) {
    const States states = {args, t};
    for (int64_t p = 0; p < panels; ++p) {
      const int64_t j = (t % 2 == 0 ? p : panels - 1 - p) * width;
      state_columns(states, j, width == kPair && args.hidden - j > kLanes);
    }
  }
}

}  // namespace
}  // namespace recstack::RECSTACK_ISA_NS
