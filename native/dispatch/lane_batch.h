// The batch of one lane: assembles it, runs it, and brings the scores back to each query.
//
//   one part:      the executor runs a row range of the query's own arrays; nothing is copied
//   several parts: packed into one batch, run, scores copied to each query's output; when that run
//                  fails, the parts run one by one, so that only the query at fault fails
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "dispatch/lane_health.h"
#include "dispatch/merged_batch.h"
#include "program/executor.h"
#include "program/layout.h"

namespace recstack {

// Rows [row_begin, row_end) of one query, and how running them went.
struct Part {
  int32_t slot = -1;
  BatchView batch;
  int64_t row_begin = 0;
  int64_t row_end = 0;
  float* out = nullptr;  // of the whole query, (rows, outputs)
  Status status;
  std::string error;  // of an executor that is not native
};

struct BatchTimes {
  int64_t started_ns = 0;
  int64_t assembled_ns = 0;
  int64_t executed_ns = 0;
};

class LaneBatch {
 public:
  LaneBatch(std::unique_ptr<Executor> executor, const InputLayout& layout);

  // Runs all `parts` and fills in their status. Never throws.
  void run();
  // How that went.
  Ended ended() const;

  std::vector<Part> parts;
  BatchTimes times;  // of the last run

 private:
  bool run_merged();
  void run_alone(Part* part);
  Status guarded_run(const BatchView& batch, int64_t row_begin, int64_t row_end, float* out,
                     std::string* error);

  std::unique_ptr<Executor> executor_;
  MergedBatch merged_;
  std::vector<BatchView> views_;
  int64_t outputs_;
};

}  // namespace recstack
