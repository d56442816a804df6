// From indices to row addresses, a window at a time, across tables.
#pragma once

#include "core/vec.h"
#include "kernels/embag/embag.h"

namespace recstack::RECSTACK_ISA_NS {
namespace {

// Lookups that are summed at a stretch.
constexpr int64_t kStretch = 64;
constexpr int64_t kWindow = 512;
static_assert(kWindow >= 2 * (kStretch + Prefetch::kMaxDistance));

template <int kHint>
RECSTACK_INLINE void prefetch_line(uintptr_t address) {
  __builtin_prefetch(reinterpret_cast<const void*>(address), 0, kHint);
}

// `hint` as __builtin_prefetch's locality; kAsGiven: decided while running.
constexpr int kT0 = 3, kT1 = 2, kNta = 0, kAsGiven = -1;

// Addresses of the rows of all lookups in order. A bad lookup ends the walk; it and all after it
// read zeros.
class Walk {
 public:
  explicit Walk(const BagsArgs& args) : args_(args), ahead_(args.prefetch.distance) { fill(); }

  // The next n <= kStretch addresses, with those of the prefetch distance behind them.
  RECSTACK_INLINE const uintptr_t* take(int64_t n) {
    if (__builtin_expect(end_ - begin_ < n + ahead_, 0)) refill();
    const uintptr_t* at = window_ + begin_;
    begin_ += n;
    return at;
  }

  void skip(int64_t n) {
    for (; n > kStretch; n -= kStretch) take(kStretch);
    take(n);
  }

  const BadLookup& bad() const { return bad_; }
  const uintptr_t* window() const { return window_; }
  // Lookups in the window that are real, when nothing was taken yet.
  int64_t filled() const { return filled_; }
  uintptr_t zeros() const { return reinterpret_cast<uintptr_t>(args_.zeros); }

 private:
  __attribute__((noinline)) void refill() {
    const int64_t left = end_ - begin_;
    for (int64_t i = 0; i < left; ++i) window_[i] = window_[begin_ + i];
    begin_ = 0;
    end_ = left;
    fill();
  }

  void fill() {
    while (end_ < kWindow && table_ < args_.count && bad_.table < 0) {
      const BagTable& t = args_.tables[table_];
      const int64_t n = lesser(kWindow - end_, t.lookups - lookup_);
      if (args_.index_type == IndexType::int32) {
        translate(t, static_cast<const int32_t*>(t.indices) + lookup_, n);
      } else {
        translate(t, static_cast<const int64_t*>(t.indices) + lookup_, n);
      }
      end_ += n;
      lookup_ += n;
      if (lookup_ == t.lookups) {
        ++table_;
        lookup_ = 0;
      }
    }
    filled_ = end_;
    for (; end_ < kWindow; ++end_) window_[end_] = zeros();
  }

  template <class Index>
  RECSTACK_INLINE void translate(const BagTable& t, const Index* indices, int64_t n) {
    const uintptr_t base = reinterpret_cast<uintptr_t>(t.table);
    const uint64_t rows = static_cast<uint64_t>(t.rows);
    const auto bytes = static_cast<uint64_t>(row_bytes(t.format, args_.dim));
    uintptr_t* to = window_ + end_;
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
  int64_t begin_ = 0, end_ = 0, filled_ = 0;
  BadLookup bad_;
  uintptr_t window_[kWindow];
};

}  // namespace
}  // namespace recstack::RECSTACK_ISA_NS
