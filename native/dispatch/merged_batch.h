// Several batches side by side in one, in buffers that a lane keeps.
//
// With two queries A (2 rows) and B (1 row), an item-scope feature and a user-scope one:
//
//   A lengths [a0 a1 | u]   B lengths [b0 | v]   merged [a0 a1 b0 | u v]
//
// and the values, weights and dense rows in the same order: one memcpy per feature and query.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "program/layout.h"

namespace recstack {

// An array that grows and never shrinks; what it held is lost when it grows.
template <typename T>
class Buffer {
 public:
  T* reserve(int64_t count) {
    if (count > capacity_) {
      const int64_t wanted = count + count / 2;
      data_ = std::make_unique_for_overwrite<T[]>(wanted);
      capacity_ = wanted;
    }
    return data_.get();
  }
  T* data() { return data_.get(); }

 private:
  std::unique_ptr<T[]> data_;
  int64_t capacity_ = 0;
};

class MergedBatch {
 public:
  explicit MergedBatch(const InputLayout& layout) : layout_(layout) {}

  // Copies `parts`, all of one index type, into one batch. The result and scores() stay valid until
  // the next call.
  const BatchView& pack(std::span<const BatchView> parts);

  // Room for the merged batch's scores, (rows, outputs).
  float* scores() { return scores_.data(); }

 private:
  // Where a part's next lengths and values are; in elements.
  struct Cursor {
    int64_t length = 0;
    int64_t value = 0;
  };

  void size_up(std::span<const BatchView> parts);
  void pack_rows(std::span<const BatchView> parts);
  void pack_features(std::span<const BatchView> parts);

  InputLayout layout_;
  BatchView merged_;
  std::vector<Cursor> cursors_;
  Buffer<int32_t> query_offsets_;
  Buffer<float> dense_;
  Buffer<float> user_dense_;
  Buffer<char> values_;
  Buffer<int32_t> lengths_;
  Buffer<float> weights_;
  Buffer<float> scores_;
};

}  // namespace recstack
