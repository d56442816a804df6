// From indices to row addresses, a window at a time, across tables; and rows prefetched in bursts.
#pragma once

#include "core/vec.h"
#include "kernels/embag/embag.h"

namespace recstack::RECSTACK_ISA_NS {
namespace {

// Lookups that are summed at a stretch, and prefetched at once where bags are short: many misses,
// and the page walks before them, are on their way together when nothing stands between them. Long
// bags have little between two lookups anyway; what is best for them is `Prefetch::burst`
// (labs/embag/NOTES.md).
constexpr int64_t kStretch = 128;
constexpr int64_t kShortStretch = 16;
constexpr int64_t kLongBag = 16;
constexpr int64_t kWindow = 512;
static_assert(kWindow >= 2 * kStretch + Prefetch::kMaxDistance);
static_assert(kStretch >= Prefetch::kMaxBurst);

// Addresses of the rows of all lookups in order. A bad lookup ends the walk; it and all after it
// read zeros.
class Walk {
 public:
  explicit Walk(const BagsArgs& args)
      : args_(args), ahead_(args.prefetch.hint == PrefetchHint::none ? 0 : args.prefetch.distance) {
    fill();
    if (args.asked) asked_ = ahead_;
  }

  // From here on lookups are of this table; rows ahead are prefetched in the width of its rows.
  // block: rows are one block of whole vectors, so that what sums them can prefetch.
  void enter(const BagTable& t, bool block) {
    row_bytes_ = row_bytes(t.format, args_.dim);
    // Row addresses are multiples of `granule`, so is where the last one of a row starts.
    const uintptr_t both =
        reinterpret_cast<uintptr_t>(t.table) | static_cast<uintptr_t>(row_bytes_);
    const auto granule = static_cast<int64_t>(both & (~both + 1));
    ends_apart_ = (row_bytes_ - 1) % kLine + 1 > granule;
    const bool lines = row_bytes_ % kLine == 0 && !ends_apart_;
    lines_ = lines ? row_bytes_ / kLine : 0;
    const bool is_long = t.lookups >= kLongBag * args_.bags;
    const int64_t burst = args_.prefetch.burst;
    between_ = is_long && burst == 1 && lines && block && ahead_ > 0;
    stretch_ = !is_long || between_ ? kStretch : burst == 1 ? kShortStretch : burst;
  }

  int64_t stretch() const { return stretch_; }
  int64_t ahead() const { return ahead_; }
  // With which hint to prefetch ahead() rows ahead while adding; none where it is done in bursts.
  PrefetchHint between() const { return between_ ? args_.prefetch.hint : PrefetchHint::none; }

  // The next n <= stretch() addresses, and ahead() behind them.
  RECSTACK_INLINE const uintptr_t* take(int64_t n) {
    const uintptr_t* at = pass(n);
    if (between_) asked_ = greater(asked_, begin_ + ahead_);
    return at;
  }

  void skip(int64_t n) {
    for (; n > stretch_; n -= stretch_) pass(stretch_);
    pass(n);
  }

  const BadLookup& bad() const { return bad_; }
  uintptr_t zeros() const { return reinterpret_cast<uintptr_t>(args_.zeros); }

 private:
  static constexpr int64_t kLine = 64;

  static int64_t greater(int64_t a, int64_t b) { return a > b ? a : b; }

  RECSTACK_INLINE const uintptr_t* pass(int64_t n) {
    if (begin_ + n + ahead_ > asked_) ask();
    const uintptr_t* at = window_ + begin_;
    begin_ += n;
    return at;
  }

  // Prefetches the rows of the distance from here, in bursts those of a stretch too.
  __attribute__((noinline)) void ask() {
    if (kWindow - begin_ < ahead_ + stretch_) refill();
    const int64_t to = begin_ + ahead_ + (between_ ? 0 : stretch_);
    const int64_t from = greater(asked_, begin_);
    const uintptr_t* rows = window_ + from;
    const int64_t n = lesser(to, filled_) - from;
    switch (args_.prefetch.hint) {
      case PrefetchHint::none:
        break;
      case PrefetchHint::t0:
        prefetch<3>(rows, n);
        break;
      case PrefetchHint::t1:
        prefetch<2>(rows, n);
        break;
      case PrefetchHint::nta:
        prefetch<0>(rows, n);
        break;
    }
    asked_ = greater(asked_, to);
  }

  template <int kLocality>
  RECSTACK_INLINE void prefetch(const uintptr_t* rows, int64_t n) {
    if (lines_ == 1) return prefetch_lines<kLocality, 1>(rows, n);
    if (lines_ == 2) return prefetch_lines<kLocality, 2>(rows, n);
    if (lines_ == 4) return prefetch_lines<kLocality, 4>(rows, n);
    for (int64_t i = 0; i < n; ++i) {
      const uintptr_t end = rows[i] + static_cast<uint64_t>(row_bytes_);
      for (uintptr_t at = rows[i]; at < end; at += kLine) prefetch_line<kLocality>(at);
      if (ends_apart_) prefetch_line<kLocality>(end - 1);
    }
  }

  template <int kLocality, int kLines>
  RECSTACK_INLINE void prefetch_lines(const uintptr_t* rows, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
      RECSTACK_UNROLL
      for (int l = 0; l < kLines; ++l) prefetch_line<kLocality>(rows[i] + l * kLine);
    }
  }

  template <int kLocality>
  static RECSTACK_INLINE void prefetch_line(uintptr_t address) {
    __builtin_prefetch(reinterpret_cast<const void*>(address), 0, kLocality);
  }

  void refill() {
    filled_ -= begin_;
    asked_ = greater(asked_ - begin_, 0);
    for (int64_t i = 0; i < filled_; ++i) window_[i] = window_[begin_ + i];
    begin_ = 0;
    fill();
  }

  void fill() {
    while (filled_ < kWindow && table_ < args_.count + args_.after && bad_.table < 0) {
      const BagTable& t = args_.tables[table_];
      const int64_t n = lesser(kWindow - filled_, t.lookups - lookup_);
      if (args_.index_type == IndexType::int32) {
        translate(t, static_cast<const int32_t*>(t.indices) + lookup_, n);
      } else {
        translate(t, static_cast<const int64_t*>(t.indices) + lookup_, n);
      }
      filled_ += n;
      lookup_ += n;
      if (lookup_ == t.lookups) {
        ++table_;
        lookup_ = 0;
      }
    }
    if (bad_.table >= 0) {
      for (; filled_ < kWindow; ++filled_) window_[filled_] = zeros();
    }
    // What is read ahead of the last lookups, to be prefetched.
    const int64_t end = lesser(filled_ + ahead_, kWindow);
    for (int64_t i = filled_; i < end; ++i) window_[i] = zeros();
  }

  template <class Index>
  RECSTACK_INLINE void translate(const BagTable& t, const Index* indices, int64_t n) {
    const uintptr_t base = reinterpret_cast<uintptr_t>(t.table);
    const uint64_t rows = static_cast<uint64_t>(t.rows);
    const auto bytes = static_cast<uint64_t>(row_bytes(t.format, args_.dim));
    uintptr_t* to = window_ + filled_;
    uint64_t wrong = 0;
    for (int64_t i = 0; i < n; ++i) {
      const uint64_t x = static_cast<uint64_t>(static_cast<int64_t>(indices[i]));
      wrong |= x >= rows;
      to[i] = base + x * bytes;
    }
    if (__builtin_expect(wrong != 0, 0)) {
      int64_t i = 0;
      while (static_cast<uint64_t>(static_cast<int64_t>(indices[i])) < rows) ++i;
      bad_ = {table_, lookup_ + i};
      for (; i < n; ++i) to[i] = zeros();
    }
    if (t.padding_index >= 0) {
      for (int64_t i = 0; i < n; ++i) {
        if (static_cast<int64_t>(indices[i]) == t.padding_index) to[i] = zeros();
      }
    }
  }

  const BagsArgs& args_;
  int64_t ahead_;
  int64_t table_ = 0, lookup_ = 0;  // the next to translate
  int64_t begin_ = 0;               // of the window: what is taken next,
  int64_t asked_ = 0;               // where prefetching goes on,
  int64_t filled_ = 0;              // and where what is filled ends
  int64_t row_bytes_ = 0;
  int64_t lines_ = 0;  // of a row; 0 where it differs from row to row
  int64_t stretch_ = kStretch;
  bool ends_apart_ = false;
  bool between_ = false;
  BadLookup bad_;
  uintptr_t window_[kWindow];
};

}  // namespace
}  // namespace recstack::RECSTACK_ISA_NS
