// The live dispatcher: a bounded queue, a policy, and lanes that run what it decides.
//
// One mutex guards queue, slots and lane states. Whoever changes them (submit, a lane that
// finished, a timer) asks the policy what to start until it has nothing more, hands the batches to
// idle lanes and wakes them. A lane holds the mutex once per batch; batches run and scores are
// copied without it. Nothing is allocated per query, but for the messages of failures.
#pragma once

#include <array>
#include <cstdint>
#include <exception>
#include <functional>
#include <latch>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "dispatch/histogram.h"
#include "dispatch/lane_batch.h"
#include "dispatch/outcome.h"
#include "dispatch/parker.h"
#include "dispatch/policy.h"
#include "dispatch/trace.h"

namespace recstack {

struct LaneOptions {
  // Called by the lane's thread once it is bound to its cores, so that the executor's memory and
  // threads are there too.
  std::function<std::unique_ptr<Executor>()> make_executor;
  std::vector<int> cores;  // none: not bound
  int32_t kind = 0;        // whose cost curve holds
};

struct DispatcherOptions {
  int32_t queue_queries = 1024;  // that may wait
  int64_t queue_rows = 1 << 20;  // that may wait; a larger query is taken when none waits
  int64_t spin_ns = 0;           // how long an idle lane looks for work before it sleeps
  std::vector<CostCurve> costs;  // by kind of lane; none: the policy does without
};

// A query: a batch of one or more users' rows that is `consistent` (layout.h), scored as one. The
// arrays and `out`, (rows, outputs), stay alive until the sink has it and they are not held.
struct Submission {
  uint64_t tag = 0;
  BatchView batch;
  float* out = nullptr;
  int64_t deadline_ns = kNever;
  Sink* sink = nullptr;  // who hears of its end, alive until then; null: the dispatcher's
};

struct Counters {
  int64_t accepted = 0;
  int64_t completed = 0;  // Outcome::ok
  int64_t failed = 0;     // Outcome::error
  int64_t queue_full = 0;
  int64_t deadline = 0;  // passed, or predicted to be missed:
  int64_t early = 0;     // of these, refused before it had passed
  int64_t shutting_down = 0;
  int64_t rows = 0;     // computed, by all batches
  int64_t busy_ns = 0;  // of all lanes together, in batches that have ended
  int64_t batches = 0;
  int64_t merged_batches = 0;
  int64_t split_queries = 0;
  int64_t waiting_queries = 0;  // now
  int64_t waiting_rows = 0;     // now
  int64_t busy_lanes = 0;       // now
  int64_t lanes_out = 0;        // now: of service, because batch after batch failed
  int64_t lane_outages = 0;     // how often one was taken out
};

class Dispatcher {
 public:
  // Returns when all lanes are ready; throws what making an executor threw. The sink outlives the
  // dispatcher.
  Dispatcher(const std::vector<LaneOptions>& lanes, const InputLayout& layout,
             std::shared_ptr<const Policy> policy, const DispatcherOptions& options, Sink* sink);
  ~Dispatcher();  // shutdown(false)
  Dispatcher(const Dispatcher&) = delete;
  Dispatcher& operator=(const Dispatcher&) = delete;

  // Returns at once. Outcome::ok: accepted, and the sink will hear of it; else refused, and it will
  // not. Any thread.
  Outcome submit(const Submission& query);

  // Refuses new queries; finishes those that wait (`drain`) or ends them with
  // Outcome::shutting_down; joins the lanes. Later calls wait for the first. Not from the sink.
  void shutdown(bool drain);

  // `policy` decides from now on, also on what waits already, which keeps its place in the order.
  // std::invalid_argument, and nothing changes, when it wants cost curves and there are none, or
  // would leave a line of the backlog unserved. Any thread.
  void set_policy(std::shared_ptr<const Policy> policy);

  // Forgets what was traced and keeps the next `chunks`; 0: none. Any thread.
  void begin_trace(int64_t chunks);
  std::vector<TracedChunk> traced() const;

  Counters counters() const;
  HistogramSnapshot stage(Stage stage) const;  // of the queries that lanes finished; ns
  HistogramSnapshot batch_rows() const;
  std::vector<std::string> pin_errors() const;  // one per lane that could not be bound

 private:
  struct Slot {
    Submission query;
    int64_t arrival_ns;
    int64_t started_ns;
    int64_t assemble_ns;
    int64_t executed_ns;
    int32_t running;  // chunks
    bool waiting;     // has rows in the backlog
    bool told;        // the sink has its outcome
    Outcome outcome;
    Status status;
    std::string error;
  };
  struct Lane {
    std::unique_ptr<LaneBatch> batch;
    bool assigned = false;  // `batch` waits to be run
    Parker parker;
    std::array<Histogram, kStages> stages;
    Histogram batch_rows;
    std::thread thread;
  };
  // What a change leads to, done once the mutex is released.
  struct Effects {
    std::vector<Finished> finished;
    std::array<Parker*, 64> wakes;
    int32_t wake_count = 0;

    void wake(Parker* parker);
  };

  void run_lane(int32_t lane, const LaneOptions& options);
  void run_timer();
  void prepare(int32_t lane, const LaneOptions& options);
  void apply(Effects* effects, Lane* lane);

  // Under the mutex; in dispatcher_queue.cc.
  void settle(int32_t lane, int64_t now_ns, Effects* effects);
  void pump(int64_t now_ns, Effects* effects);
  void start(const Decision& decision, int64_t now_ns);
  void set_timer(const Decision& decision, Effects* effects);
  void drop(int32_t slot, Outcome outcome, int64_t now_ns, Effects* effects);
  void finish(int32_t slot, int64_t now_ns, Effects* effects);

  const InputLayout layout_;
  const DispatcherOptions options_;
  Sink* const sink_;
  std::vector<std::unique_ptr<Lane>> lanes_;

  mutable std::mutex mutex_;  // guards all below
  std::shared_ptr<const Policy> policy_;
  Trace trace_;
  Board board_;
  std::vector<Slot> slots_;
  std::vector<int32_t> free_slots_;
  int32_t timer_lane_ = -1;  // which sleeps no longer than until timer_ns_
  int64_t timer_ns_ = kNever;
  int64_t refusal_ns_ = kNever;  // when the timer's thread looks for what is to be refused
  int64_t alarm_ns_ = kNever;    // until when it sleeps
  bool stopping_ = false;
  Counters counters_;
  std::vector<std::string> pin_errors_;
  std::exception_ptr failure_;  // of a lane that could not be made ready

  std::latch ready_;
  std::once_flag joined_;
  Parker timer_parker_;
  std::thread timer_;
};

}  // namespace recstack
