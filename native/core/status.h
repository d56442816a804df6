// How a run ended, without exceptions: kernels and programs return it, the binding raises from it.
#pragma once

#include <cstdint>

namespace recstack {

struct Status {
  enum class Code : int32_t {
    ok,
    index_out_of_range,  // feature, entry, value, limit
    bag_too_long,        // feature, entry, value (its length), limit
    non_finite,          // feature (a dense input), entry, column
    not_finite_weight,   // feature, entry, column (position in the bag)
    stopped,             // another thread of the run failed, and says why
    callback_failed,     // an executor that is not native failed; it keeps its own message
    callback_refused,    // likewise, but the batch is to blame
  };
  Code code = Code::ok;
  int32_t feature = 0;  // position among the sparse, or the dense, inputs
  int64_t entry = 0;    // row, or query for a user-scope input, in the batch that was given
  int64_t column = 0;
  int64_t value = 0;
  int64_t limit = 0;

  bool ok() const { return code == Code::ok; }
};

}  // namespace recstack
