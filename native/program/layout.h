// The inputs of a model as the native side needs them.
#pragma once

#include <cstdint>
#include <vector>

#include "program/executor.h"

namespace recstack {

struct InputLayout {
  std::vector<Scope> features;         // one per sparse input, in order
  std::vector<int64_t> fixed_lengths;  // per sparse input: the exact bag length, or 0 when ragged
  int64_t dense_columns = 0;           // of BatchView::dense
  int64_t user_dense_columns = 0;
  int64_t outputs = 1;    // scores per row
  bool weighted = false;  // whether batches carry lookup weights
  bool finite = true;     // whether a dense input that is not finite is refused
};

// Whether every size in `batch` agrees with `layout` and with each other, so that no run can read
// outside its arrays: offsets rise from 0 to rows, lengths are >= 0, right where fixed, and sum to
// nnz. The arrays' own sizes (rows * columns, one length per bag) are the caller's to check.
bool consistent(const InputLayout& layout, const BatchView& batch);

}  // namespace recstack
