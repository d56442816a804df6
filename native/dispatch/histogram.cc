#include "dispatch/histogram.h"

#include <algorithm>
#include <cmath>

namespace recstack {

void HistogramSnapshot::merge(const HistogramSnapshot& other) {
  if (other.count_ == 0) return;
  if (buckets_.empty()) buckets_.resize(kBuckets);
  for (int64_t b = 0; b < kBuckets; ++b) buckets_[b] += other.buckets_[b];
  count_ += other.count_;
  sum_ += other.sum_;
  max_ = std::max(max_, other.max_);
}

void HistogramSnapshot::subtract(const HistogramSnapshot& earlier) {
  if (earlier.count_ == 0 || buckets_.empty()) return;
  int64_t last = 0;
  for (int64_t b = 0; b < kBuckets; ++b) {
    buckets_[b] -= earlier.buckets_[b];
    if (buckets_[b] > 0) last = b;
  }
  count_ -= earlier.count_;
  sum_ -= earlier.sum_;
  if (last < kBuckets - 1) max_ = std::min(max_, bucket_begin(last + 1) - 1);  // the last is open
}

int64_t HistogramSnapshot::percentile(double share) const {
  if (count_ == 0) return 0;
  // The slack keeps 0.95 * 1000 from becoming rank 951.
  const double exact = std::ceil(share * static_cast<double>(count_) - 1e-9);
  const int64_t rank = std::clamp<int64_t>(static_cast<int64_t>(exact), 1, count_);
  if (rank == count_) return max_;
  int64_t seen = 0;
  for (int64_t b = 0; b < kBuckets; ++b) {
    seen += buckets_[b];
    if (seen < rank) continue;
    const int64_t begin = bucket_begin(b);
    return std::min(begin + (bucket_begin(b + 1) - begin) / 2, max_);
  }
  return max_;
}

int64_t HistogramSnapshot::at_most(int64_t limit) const {
  if (buckets_.empty() || limit < 0) return 0;
  const auto end = buckets_.begin() + bucket_of(limit) + 1;
  int64_t total = 0;
  for (auto it = buckets_.begin(); it != end; ++it) total += *it;
  return total;
}

HistogramSnapshot Histogram::snapshot() const {
  HistogramSnapshot out;
  out.buckets_.resize(kBuckets);
  for (int64_t b = 0; b < kBuckets; ++b) {
    out.buckets_[b] = buckets_[b].load(std::memory_order_relaxed);
    out.count_ += out.buckets_[b];
  }
  out.sum_ = sum_.load(std::memory_order_relaxed);
  out.max_ = max_.load(std::memory_order_relaxed);
  return out;
}

}  // namespace recstack
