#include "program/layout.h"

namespace recstack {

bool consistent(const InputLayout& layout, const BatchView& batch) {
  if (batch.query_offsets[0] != 0 || batch.query_offsets[batch.queries] != batch.rows) return false;
  for (int64_t q = 0; q < batch.queries; ++q) {
    if (batch.query_offsets[q + 1] < batch.query_offsets[q]) return false;
  }
  const int32_t* lengths = batch.lengths;
  int64_t total = 0;
  for (size_t f = 0; f < layout.features.size(); ++f) {
    const int64_t entries = layout.features[f] == Scope::item ? batch.rows : batch.queries;
    const int64_t fixed = layout.fixed_lengths[f];
    int32_t low = 0;
    int64_t wrong = 0;
    for (int64_t e = 0; e < entries; ++e) {
      low = lengths[e] < low ? lengths[e] : low;
      wrong += fixed != 0 && lengths[e] != fixed;
      total += lengths[e];
    }
    if (low < 0 || wrong) return false;
    lengths += entries;
  }
  return total == batch.nnz;
}

}  // namespace recstack
