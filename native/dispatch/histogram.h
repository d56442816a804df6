// A latency histogram with logarithmic buckets, in the manner of HdrHistogram.
//
// Values below 64 have a bucket each; above, every power of two is cut in 64 equal buckets, so a
// bucket is at most 1/64 of its values wide and its middle is within 0.8% of each of them. Values
// up to 2^41 ns (36 minutes) are told apart; larger ones count in the last bucket. Recording is one
// relaxed atomic add to a bucket and one to the sum, and a compare for the maximum: any number of
// threads may record while others read. A reader sees each recorded value or not, never half of it,
// but the sum and the buckets may differ by the values being recorded at that moment.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <vector>

namespace recstack {

inline constexpr int kSubBits = 6;
inline constexpr int64_t kSubBuckets = int64_t{1} << kSubBits;
inline constexpr int kMaxBits = 41;
inline constexpr int64_t kBuckets = (kMaxBits - kSubBits + 1) * kSubBuckets;

// The bucket of a value; negative values count as 0.
constexpr int64_t bucket_of(int64_t value) {
  if (value < kSubBuckets) return value < 0 ? 0 : value;
  if (value >= int64_t{1} << kMaxBits) return kBuckets - 1;
  const int octave = std::bit_width(static_cast<uint64_t>(value)) - 1 - kSubBits;
  return (octave + 1) * kSubBuckets + ((value >> octave) - kSubBuckets);
}

// The smallest value of a bucket; of kBuckets, the first value past the last bucket.
constexpr int64_t bucket_begin(int64_t bucket) {
  if (bucket < kSubBuckets) return bucket;
  const int64_t octave = bucket / kSubBuckets - 1;
  return (kSubBuckets + bucket % kSubBuckets) << octave;
}

// A histogram at one moment; plain data.
class HistogramSnapshot {
 public:
  // Adds what `other` holds.
  void merge(const HistogramSnapshot& other);

  // Takes away what `earlier`, a snapshot of the same histogram, had; the maximum becomes the end
  // of the last bucket that is left.
  void subtract(const HistogramSnapshot& earlier);

  // The smallest value that at least `share` (0 to 1) of the values do not exceed, within 0.8%;
  // 0 when nothing was recorded.
  int64_t percentile(double share) const;

  // How many values are at most `limit`; the bucket that holds `limit` counts whole.
  int64_t at_most(int64_t limit) const;

  int64_t count() const { return count_; }
  int64_t sum() const { return sum_; }
  int64_t max() const { return max_; }

 private:
  friend class Histogram;
  std::vector<int64_t> buckets_;  // empty while nothing was recorded
  int64_t count_ = 0;             // of the buckets
  int64_t sum_ = 0;
  int64_t max_ = 0;
};

class Histogram {
 public:
  void record(int64_t value) {
    if (value < 0) value = 0;
    buckets_[bucket_of(value)].fetch_add(1, std::memory_order_relaxed);
    sum_.fetch_add(value, std::memory_order_relaxed);
    int64_t max = max_.load(std::memory_order_relaxed);
    while (value > max && !max_.compare_exchange_weak(max, value, std::memory_order_relaxed)) {
    }
  }

  HistogramSnapshot snapshot() const;

 private:
  std::array<std::atomic<int64_t>, kBuckets> buckets_{};
  std::atomic<int64_t> sum_{0};
  std::atomic<int64_t> max_{0};
};

}  // namespace recstack
