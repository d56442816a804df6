// Arrays that end where an unreadable page begins, and outputs with canaries between their rows.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <vector>

#include "check.h"

namespace recstack::test {

// n elements that end at a page nobody may touch: one element too far is a fault.
template <class T>
class Guarded {
 public:
  explicit Guarded(int64_t n) : size_(n) {
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t bytes = static_cast<size_t>(n) * sizeof(T);
    mapped_ = (bytes + page - 1) / page * page + page;
    base_ = static_cast<char*>(
        mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (base_ == MAP_FAILED) std::abort();
    mprotect(base_ + mapped_ - page, page, PROT_NONE);
    data_ = reinterpret_cast<T*>(base_ + mapped_ - page - bytes);
  }
  ~Guarded() { munmap(base_, mapped_); }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  T* data() { return data_; }
  const T* data() const { return data_; }
  int64_t size() const { return size_; }
  T& operator[](int64_t i) { return data_[i]; }
  const T& operator[](int64_t i) const { return data_[i]; }

 private:
  int64_t size_;
  size_t mapped_;
  char* base_;
  T* data_;
};

// A seeded generator that is the same everywhere (xorshift64*).
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15u + 1) {}
  uint64_t next() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 0x2545f4914f6cdd1du;
  }
  // Uniform in [low, high).
  float uniform(float low = -1.0f, float high = 1.0f) {
    return low + (high - low) * static_cast<float>(next() >> 40) * 0x1p-24f;
  }
  int64_t below(int64_t n) { return static_cast<int64_t>(next() % static_cast<uint64_t>(n)); }

 private:
  uint64_t state_;
};

inline void fill(Guarded<float>& x, Random& random) {
  for (int64_t i = 0; i < x.size(); ++i) x[i] = random.uniform();
}

// (rows, width) with rows `stride` apart; what lies between rows must stay as it was.
class Output {
 public:
  Output(int64_t rows, int64_t width, int64_t stride)
      : rows_(rows),
        width_(width),
        stride_(stride),
        values_(rows > 0 ? (rows - 1) * stride + width : 0) {
    for (int64_t i = 0; i < values_.size(); ++i) values_[i] = kCanary;
  }
  float* data() { return values_.data(); }
  float* row(int64_t r) { return values_.data() + r * stride_; }
  float at(int64_t r, int64_t j) const { return values_[r * stride_ + j]; }
  int64_t stride() const { return stride_; }
  void check_canaries() const {
    for (int64_t r = 0; r + 1 < rows_; ++r) {
      for (int64_t j = width_; j < stride_; ++j) CHECK_EQ(at(r, j), kCanary);
    }
  }

 private:
  static constexpr float kCanary = -12345.5f;
  int64_t rows_, width_, stride_;
  Guarded<float> values_;
};

}  // namespace recstack::test
