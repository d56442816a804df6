// A load test's run: issues queries at times that were made beforehand, from a thread that Python
// and its lock cannot hold up, and records when and how each of them ended.
//
// Each query waits for its time in the kernel and the last stretch in a spin, so that it is issued
// within microseconds of it where a core is free. A query that comes late is issued at once and the
// later ones keep their times: the schedule does not slow down with the system (open loop). Scores
// go to buffers that are used again once their query ended; a run keeps none.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "dispatch/dispatcher.h"
#include "dispatch/outcome.h"

namespace recstack {

// What to issue; the arrays stay alive for as long as the run.
struct RunPlan {
  int64_t queries = 0;
  const int64_t* scheduled_ns = nullptr;  // (queries), ascending, since the start
  const int32_t* which = nullptr;         // (queries), into `batches`
  std::vector<BatchView> batches;         // each `consistent` with the dispatcher's layout
  int64_t outputs = 1;                    // per row
  int64_t deadline_ns = kNever;           // of each query, since its scheduled time
  int64_t drain_ns = 0;                   // how long to wait for answers after the last query
  int64_t spin_ns = 0;                    // of each wait
};

// Where to record, (queries) each; stages_ns is (queries, kStages). On the monotonic clock. Not
// written before run() and after it; what did not happen in time is left as it was.
struct RunRecord {
  int64_t* issued_ns = nullptr;
  int64_t* finished_ns = nullptr;
  uint8_t* status = nullptr;  // an Outcome
  int64_t* stages_ns = nullptr;
};

// A query that ended with Outcome::error.
struct RunFailure {
  int64_t query;
  Status status;
  std::string text;
};

class ScheduledRun final : public Sink {
 public:
  ScheduledRun(RunPlan plan, const RunRecord& record);

  // Issues all queries, the first ones `start_ns` being their time zero, then waits until all have
  // ended, `drain_ns` have passed, or stop(). Once, from any thread.
  void run(Dispatcher* dispatcher, int64_t start_ns);

  // Makes run() return soon. Any thread.
  void stop();
  // Whether run() is over and the dispatcher has no query of it any more: it may be destroyed.
  bool idle() const;

  // The first few different ones; after run().
  const std::vector<RunFailure>& failures() const { return failures_; }

  void finished(std::span<Finished> queries) override;

 private:
  bool wait_until(int64_t due_ns) const;
  void issue(Dispatcher* dispatcher, int64_t query, int64_t due_ns);
  float* take_buffer(int64_t query);
  void record(int64_t query, Outcome outcome, int64_t finish_ns);
  void release(int64_t query);
  void note_failure(const Finished& query);

  const RunPlan plan_;
  const RunRecord record_;
  int64_t largest_rows_ = 0;
  std::atomic<bool> stopped_{false};

  mutable std::mutex mutex_;  // guards all below, and the record but for issued_ns
  std::condition_variable changed_;
  int64_t ended_ = 0;
  int64_t in_flight_ = 0;
  bool open_ = true;  // ends are recorded
  bool over_ = false;
  std::vector<float*> buffer_of_;  // (queries)
  std::vector<std::unique_ptr<float[]>> buffers_;
  std::vector<float*> free_buffers_;
  std::vector<RunFailure> failures_;
};

}  // namespace recstack
