// What runs batches: the contract between programs and the dispatcher.
#pragma once

#include <cstdint>

#include "core/status.h"
#include "kernels/embag/embag.h"

namespace recstack {

enum class Scope { user, item };

// A batch of Q queries with R rows in all; see recstack/batch.py. Views only; owns nothing.
struct BatchView {
  int64_t rows = 0;
  int64_t queries = 0;
  const int32_t* query_offsets = nullptr;  // (Q + 1,)
  const float* dense = nullptr;            // (R, columns)
  const float* user_dense = nullptr;       // (Q, columns)
  const void* values = nullptr;            // (nnz,)
  IndexType index_type = IndexType::int32;
  int64_t nnz = 0;
  const int32_t* lengths = nullptr;  // key-major, R or Q entries per feature
  const float* weights = nullptr;    // (nnz,) or null
};

// Runs batches one at a time; owns its workspace, shares its weights. One per lane.
class Executor {
 public:
  virtual ~Executor() = default;

  // Scores of rows [row_begin, row_end) of the batch into out (row_end - row_begin, outputs).
  // Sizes were checked by the caller (lengths >= 0 and summing to nnz, offsets rising); indices and
  // finiteness are checked here, for the rows that are run.
  virtual Status run(const BatchView& batch, int64_t row_begin, int64_t row_end, float* out) = 0;
};

}  // namespace recstack
