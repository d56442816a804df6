// From indices to row addresses, a window at a time, across tables; and rows prefetched in bursts.
#pragma once

#include "core/vec.h"
#include "kernels/embag/embag.h"

namespace recstack::RECSTACK_ISA_NS {
namespace {

// Lookups that are prefetched at once and summed at a stretch: many misses, and the page walks
// before them, are on their way together when nothing stands between them. Long bags of narrow rows
// have little between two lookups anyway and want shorter ones (labs/embag/NOTES.md).
constexpr int64_t kStretch = 64;
constexpr int64_t kShortStretch = 16;
constexpr int64_t kLongBag = 16, kNarrowRow = 128;
constexpr int64_t kWindow = 512;
static_assert(kWindow >= 2 * kStretch + Prefetch::kMaxDistance);

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
  void enter(const BagTable& t) {
    row_bytes_ = row_bytes(t.format, args_.dim);
    // Row addresses are multiples of `granule`, so is where the last one of a row starts.
    const uintptr_t both =
        reinterpret_cast<uintptr_t>(t.table) | static_cast<uintptr_t>(row_bytes_);
    const auto granule = static_cast<int64_t>(both & (~both + 1));
    ends_apart_ = (row_bytes_ - 1) % kLine + 1 > granule;
    const bool brief = row_bytes_ <= kNarrowRow && t.lookups >= kLongBag * args_.bags;
    stretch_ = brief ? kShortStretch : kStretch;
  }

  int64_t stretch() const { return stretch_; }

  // The next n <= stretch() addresses.
  RECSTACK_INLINE const uintptr_t* take(int64_t n) {
    if (begin_ + n + ahead_ > asked_) ask();
    const uintptr_t* at = window_ + begin_;
    begin_ += n;
    return at;
  }

  void skip(int64_t n) {
    for (; n > stretch_; n -= stretch_) take(stretch_);
    take(n);
  }

  const BadLookup& bad() const { return bad_; }
  uintptr_t zeros() const { return reinterpret_cast<uintptr_t>(args_.zeros); }

 private:
  static constexpr int64_t kLine = 64;

  // Prefetches the rows of the distance and a stretch from here.
  __attribute__((noinline)) void ask() {
    if (kWindow - begin_ < ahead_ + stretch_) refill();
    const int64_t to = begin_ + ahead_ + stretch_;
    const uintptr_t* rows = window_ + asked_;
    const int64_t n = lesser(to, filled_) - asked_;
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
    asked_ = to;
  }

  template <int kLocality>
  RECSTACK_INLINE void prefetch(const uintptr_t* rows, int64_t n) {
    const int64_t lines = row_bytes_ % kLine == 0 && !ends_apart_ ? row_bytes_ / kLine : 0;
    if (lines == 1) return prefetch_lines<kLocality, 1>(rows, n);
    if (lines == 2) return prefetch_lines<kLocality, 2>(rows, n);
    if (lines == 4) return prefetch_lines<kLocality, 4>(rows, n);
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
    asked_ -= begin_;
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
    if (bad_.table < 0) return;
    for (; filled_ < kWindow; ++filled_) window_[filled_] = zeros();
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
  int64_t stretch_ = kStretch;
  bool ends_apart_ = false;
  BadLookup bad_;
  uintptr_t window_[kWindow];
};

}  // namespace
}  // namespace recstack::RECSTACK_ISA_NS
