// The recurrence of recurrence.h: a block of rows times a panel of three gates, gates applied where
// the sums end.
#pragma once

#include "kernels/gemm/weights-inl.h"
#include "kernels/seq/gates-inl.h"
#include "kernels/seq/recurrence.h"

namespace recstack::RECSTACK_ISA_NS {
namespace {

constexpr int kGates = 3;
// Rows at once: kGates accumulators each, the panel's vectors and one broadcast.
constexpr int kStateRows = RECSTACK_ISA >= 2 ? 8 : 4;

template <class W>
int64_t recurrence_packed_bytes(int64_t hidden) {
  const int64_t columns = (hidden + kLanes - 1) / kLanes * kLanes * kGates;
  return columns * steps_of<W>(hidden) * static_cast<int64_t>(sizeof(typename W::Word));
}

// Per vector of hidden units a panel (steps, kGates, kLanes), zeros past the last unit.
template <class W>
void pack_recurrence(const float* weight_hh, int64_t hidden, void* packed) {
  auto* to = static_cast<typename W::Word*>(packed);
  for (int64_t j = 0; j < hidden; j += kLanes) {
    for (int64_t i = 0; i < hidden; i += W::kValues) {
      for (int64_t gate = 0; gate < kGates; ++gate) {
        const float* w = weight_hh + gate * hidden * hidden + i;
        for (int64_t c = j; c < j + kLanes; ++c) {
          *to++ = c < hidden ? W::word(w + c * hidden, hidden - i) : typename W::Word{0};
        }
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
  // The old state as load_x makes it.
  template <class W>
  float* elements(int64_t r) const {
    return W::kRoundsX ? args.state + r * args.state_stride + 2 * args.hidden : after(r, t - 1);
  }
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
template <class W, int kRows, int kVectors>
void state_block(const States& states, int64_t r, int64_t j) {
  const int64_t hidden = states.args.hidden;
  const int64_t panel = steps_of<W>(hidden) * kGates * kLanes;
  const auto* w = static_cast<const typename W::Word*>(states.args.packed) + j / kLanes * panel;
  const float* h[kRows];
  V acc[kRows][kVectors][kGates];
  RECSTACK_UNROLL
  for (int m = 0; m < kRows; ++m) {
    h[m] = states.t == 0 ? nullptr : states.template elements<W>(r + m);
    RECSTACK_UNROLL
    for (int v = 0; v < kVectors * kGates; ++v) acc[m][v / kGates][v % kGates] = zero();
  }
  const int64_t steps = states.t == 0 ? 0 : steps_of<W>(hidden);
  for (int64_t i = 0; i < steps; ++i, w += kGates * kLanes) {
    RECSTACK_UNROLL
    for (int part = 0; part < W::kParts; ++part) {
      const int64_t at = i * W::kParts + (W::kParts - 1 - part);
      V x[kRows];
      if constexpr (kVectors > 1) {
        RECSTACK_UNROLL
        for (int m = 0; m < kRows; ++m) x[m] = set1(h[m][at]);
      }
      RECSTACK_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        V column[kGates];
        RECSTACK_UNROLL
        for (int g = 0; g < kGates; ++g) column[g] = W::load(w + v * panel + g * kLanes, part);
        RECSTACK_UNROLL
        for (int m = 0; m < kRows; ++m) {
          const V y = kVectors > 1 ? x[m] : set1(h[m][at]);
          RECSTACK_UNROLL
          for (int g = 0; g < kGates; ++g) {
            acc[m][v][g] = W::multiply_add(y, column[g], acc[m][v][g]);
          }
        }
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
template <class W>
constexpr StateBlock kStateBlocks[] = {
    nullptr,
    state_block<W, 1, 1>,
    state_block<W, 2, 1>,
    state_block<W, 3, 1>,
    state_block<W, 4, 1>,
#if RECSTACK_ISA >= 2
    state_block<W, 5, 1>,
    state_block<W, 6, 1>,
    state_block<W, 7, 1>,
    state_block<W, 8, 1>,
#endif
};
// One row alone is a chain per gate: two panels at once hide the FMA's latency better.
constexpr int64_t kPair = 2 * kLanes;

// All rows for hidden units [j, j + kLanes), or for one row [j, j + kPair).
template <class W>
RECSTACK_INLINE void state_columns(const States& states, int64_t j, bool pair) {
  const int64_t rows = states.args.rows;
  if (pair) return state_block<W, 1, 2>(states, 0, j);
  const int64_t blocks = (rows + kStateRows - 1) / kStateRows;
  for (int64_t b = 0, r = 0; b < blocks; ++b) {
    const int64_t end = rows * (b + 1) / blocks;
    kStateBlocks<W>[end - r](states, r, j);
    r = end;
  }
}

template <class W>
void recurrence(const RecurrenceArgs& args) {
  const int64_t width = args.rows == 1 ? kPair : kLanes;
  const int64_t panels = (args.hidden + width - 1) / width;
  for (int64_t t = 0; t < args.positions; ++t) {
    const States states = {args, t};
    for (int64_t r = 0; W::kRoundsX && t > 0 && r < args.rows; ++r) {
      copy_elements<W>(states.old(r), args.hidden, states.template elements<W>(r));
    }
    for (int64_t p = 0; p < panels; ++p) {
      const int64_t j = (t % 2 == 0 ? p : panels - 1 - p) * width;
      state_columns<W>(states, j, width == kPair && args.hidden - j > kLanes);
    }
  }
}

template <class W>
constexpr RecurrenceKernels kRecurrenceKernels = {.packed_bytes = recurrence_packed_bytes<W>,
                                                  .pack = pack_recurrence<W>,
                                                  .recurrence = recurrence<W>};

}  // namespace
}  // namespace recstack::RECSTACK_ISA_NS
