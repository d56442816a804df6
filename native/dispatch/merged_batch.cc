#include "dispatch/merged_batch.h"

#include <cstring>
#include <numeric>

namespace recstack {
namespace {

// Empty arrays may be null, which memcpy does not allow.
template <typename T>
T* append(T* out, const T* from, int64_t count) {
  if (count > 0) std::memcpy(out, from, count * sizeof(T));
  return out + count;
}

int64_t bytes_of(IndexType type) { return type == IndexType::int64 ? 8 : 4; }

}  // namespace

const BatchView& MergedBatch::pack(std::span<const BatchView> parts) {
  size_up(parts);
  pack_rows(parts);
  pack_features(parts);
  return merged_;
}

void MergedBatch::size_up(std::span<const BatchView> parts) {
  merged_ = BatchView{};
  merged_.index_type = parts.front().index_type;
  for (const BatchView& part : parts) {
    merged_.rows += part.rows;
    merged_.queries += part.queries;
    merged_.nnz += part.nnz;
  }
  int64_t bags = 0;
  for (const Scope scope : layout_.features) {
    bags += scope == Scope::user ? merged_.queries : merged_.rows;
  }
  merged_.query_offsets = query_offsets_.reserve(merged_.queries + 1);
  merged_.dense = dense_.reserve(merged_.rows * layout_.dense_columns);
  merged_.user_dense = user_dense_.reserve(merged_.queries * layout_.user_dense_columns);
  merged_.values = values_.reserve(merged_.nnz * bytes_of(merged_.index_type));
  merged_.lengths = lengths_.reserve(bags);
  merged_.weights = layout_.weighted ? weights_.reserve(merged_.nnz) : nullptr;
  scores_.reserve(merged_.rows * layout_.outputs);
}

void MergedBatch::pack_rows(std::span<const BatchView> parts) {
  int32_t* offsets = query_offsets_.data();
  float* dense = dense_.data();
  float* user_dense = user_dense_.data();
  int32_t row = 0;
  *offsets++ = 0;
  for (const BatchView& part : parts) {
    for (int64_t q = 1; q <= part.queries; ++q) *offsets++ = row + part.query_offsets[q];
    row += static_cast<int32_t>(part.rows);
    dense = append(dense, part.dense, part.rows * layout_.dense_columns);
    user_dense = append(user_dense, part.user_dense, part.queries * layout_.user_dense_columns);
  }
}

void MergedBatch::pack_features(std::span<const BatchView> parts) {
  const int64_t index_bytes = bytes_of(merged_.index_type);
  int32_t* lengths = lengths_.data();
  char* values = values_.data();
  float* weights = weights_.data();
  cursors_.assign(parts.size(), Cursor{});
  for (size_t f = 0; f < layout_.features.size(); ++f) {
    const int64_t fixed = f < layout_.fixed_lengths.size() ? layout_.fixed_lengths[f] : 0;
    for (size_t p = 0; p < parts.size(); ++p) {
      const BatchView& part = parts[p];
      Cursor& from = cursors_[p];
      const int64_t bags = layout_.features[f] == Scope::user ? part.queries : part.rows;
      const int32_t* of_feature = part.lengths + from.length;
      const int64_t nnz =
          fixed > 0 ? fixed * bags : std::accumulate(of_feature, of_feature + bags, int64_t{0});
      lengths = append(lengths, of_feature, bags);
      values = append(values, static_cast<const char*>(part.values) + from.value * index_bytes,
                      nnz * index_bytes);
      if (layout_.weighted) weights = append(weights, part.weights + from.value, nnz);
      from.length += bags;
      from.value += nnz;
    }
  }
}

}  // namespace recstack
