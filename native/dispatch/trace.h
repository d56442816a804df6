// What lanes ran and when, for a picture of a run: the first so many chunks since it was begun.
#pragma once

#include <cstdint>
#include <vector>

namespace recstack {

// Rows [row_begin, row_end) of one query; chunks of one merged batch have equal times and lane.
struct TracedChunk {
  uint64_t tag = 0;  // of the query's submission
  int32_t lane = -1;
  int64_t started_ns = 0;
  int64_t executed_ns = 0;
  int64_t row_begin = 0;
  int64_t row_end = 0;
};

class Trace {
 public:
  // Forgets all; keeps the next `chunks`. The only allocation.
  void begin(int64_t chunks) {
    chunks_.clear();
    chunks_.reserve(chunks);
    capacity_ = chunks;
  }

  void add(const TracedChunk& chunk) {
    if (static_cast<int64_t>(chunks_.size()) < capacity_) chunks_.push_back(chunk);
  }

  const std::vector<TracedChunk>& chunks() const { return chunks_; }

 private:
  std::vector<TracedChunk> chunks_;
  int64_t capacity_ = 0;
};

}  // namespace recstack
