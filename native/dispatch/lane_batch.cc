#include "dispatch/lane_batch.h"

#include <cstring>
#include <exception>
#include <new>
#include <utility>

#include "dispatch/callback_executor.h"
#include "dispatch/clock.h"
#include "dispatch/policy.h"

namespace recstack {

LaneBatch::LaneBatch(std::unique_ptr<Executor> executor, const InputLayout& layout)
    : executor_(std::move(executor)), merged_(layout), outputs_(layout.outputs) {
  parts.reserve(kMaxPieces);
  views_.reserve(kMaxPieces);
}

void LaneBatch::run() {
  times.started_ns = times.assembled_ns = now_ns();
  if (parts.size() > 1 && run_merged()) return;
  for (Part& part : parts) run_alone(&part);
  times.executed_ns = now_ns();
}

Ended LaneBatch::ended() const {
  bool well = true, failed = true;
  for (const Part& part : parts) {
    well &= part.status.ok();
    failed &= part.status.code == Status::Code::callback_failed;
  }
  return well ? Ended::well : failed ? Ended::failed : Ended::unsure;
}

bool LaneBatch::run_merged() {
  views_.clear();
  for (const Part& part : parts) views_.push_back(part.batch);
  try {
    const BatchView& batch = merged_.pack(views_);
    times.assembled_ns = now_ns();
    std::string error;
    if (!guarded_run(batch, 0, batch.rows, merged_.scores(), &error).ok()) return false;
  } catch (const std::bad_alloc&) {
    return false;
  }
  times.executed_ns = now_ns();
  const float* scores = merged_.scores();
  for (Part& part : parts) {
    const int64_t count = part.batch.rows * outputs_;
    std::memcpy(part.out, scores, count * sizeof(float));
    scores += count;
    part.status = Status{};
  }
  return true;
}

void LaneBatch::run_alone(Part* part) {
  part->status = guarded_run(part->batch, part->row_begin, part->row_end,
                             part->out + part->row_begin * outputs_, &part->error);
}

// An executor that throws, against its contract, fails its query and not the process.
Status LaneBatch::guarded_run(const BatchView& batch, int64_t row_begin, int64_t row_end,
                              float* out, std::string* error) {
  Status failed;
  failed.code = Status::Code::callback_failed;
  try {
    const Status status = executor_->run(batch, row_begin, row_end, out);
    if (status.code == Status::Code::callback_failed ||
        status.code == Status::Code::callback_refused) {
      const auto* callback = dynamic_cast<const CallbackExecutor*>(executor_.get());
      if (callback != nullptr) *error = callback->error();
    }
    return status;
  } catch (const std::exception& thrown) {
    *error = thrown.what();
  } catch (...) {
    *error = "unknown exception";
  }
  return failed;
}

}  // namespace recstack
