// A dispatcher in virtual time: the same policies and the same queue, lanes that only take time.
//
//   events   an arrival, a batch's end, the time that the policy asked for; in that order when they
//            fall together, but that an end comes before an arrival
//   service  the cost curve at the batch's rows and queries and at the lanes that are busy when it
//            starts, times the spread, and more on a lane that stood idle: its caches went cold
//
// What the policy believes of costs learns from what it sees, as in the live dispatcher, so that
// `believed` may be wrong.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "dispatch/policy.h"
#include "dispatch/trace.h"
#include "simulate/spread.h"

namespace recstack {

inline constexpr int64_t kIdleNs = 500'000;

// Lanes of one kind.
struct LaneKind {
  int32_t lanes = 1;
  CostCurve cost;
  Spread spread;
  int64_t idle_ns = 0;  // what a batch takes longer that starts after kIdleNs without one
};

struct QueueingOptions {
  int32_t queue_queries = 1024;
  int64_t queue_rows = 1 << 20;
  uint64_t seed = 0;
  std::vector<CostCurve> believed;  // by kind; none: as it is
  int64_t trace_chunks = 0;         // the first so many are kept
};

// Queries to come; the arrays stay alive for as long as the run.
struct Arrivals {
  int64_t queries = 0;
  const int64_t* arrival_ns = nullptr;  // (queries), ascending
  const int64_t* rows = nullptr;        // (queries)
  int64_t deadline_ns = kNever;         // of each query, since its arrival
};

// What became of them, (queries) each.
struct QueueingRecord {
  int64_t* started_ns = nullptr;   // its first chunk; as it was where there was none
  int64_t* finished_ns = nullptr;  // answer or refusal
  uint8_t* status = nullptr;       // an Outcome
};

struct QueueingCounts {
  int64_t batches = 0;
  int64_t merged_batches = 0;
  int64_t split_queries = 0;
  int64_t early = 0;  // refused before their deadline
  int64_t rows = 0;
  int64_t busy_ns = 0;  // over all lanes
};

class Queueing {
 public:
  Queueing(std::shared_ptr<const Policy> policy, std::vector<LaneKind> kinds,
           QueueingOptions options);

  // All queries, to the last end. Once.
  QueueingCounts run(const Arrivals& arrivals, const QueueingRecord& record);

  // In the order in which they started; tagged by the query's place in the arrivals.
  const std::vector<TracedChunk>& traced() const { return trace_.chunks(); }

 private:
  struct Slot {
    int64_t query;
    int32_t running;  // chunks
    bool waiting;
    bool told;  // its end is recorded
    uint8_t outcome;
  };
  struct End {
    int64_t at_ns;
    int32_t lane;
  };

  void arrive(int64_t query);
  void end();
  void pump();
  void start(const Decision& decision);
  void refuse(int32_t slot);
  void finish(int32_t slot);

  const std::shared_ptr<const Policy> policy_;
  std::vector<LaneKind> kinds_;
  const QueueingOptions options_;
  Board board_;
  std::mt19937_64 random_;
  std::vector<Slot> slots_;
  std::vector<int32_t> free_slots_;
  std::vector<std::vector<int32_t>> lane_slots_;  // of each lane's batch
  std::vector<int64_t> lane_ended_ns_;
  std::vector<End> ends_;  // a heap, the earliest first
  int64_t now_ns_ = 0;
  int64_t wake_ns_ = kNever;
  Arrivals arrivals_;
  QueueingRecord record_;
  QueueingCounts counts_;
  Trace trace_;
};

}  // namespace recstack
