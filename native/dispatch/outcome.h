// How a query ended, and who is told.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>

#include "core/status.h"

namespace recstack {

enum class Outcome : uint8_t { ok, queue_full, deadline, shutting_down, error };

// Where a query's time went. The durations of one query sum to its total.
enum class Stage : uint8_t {
  queue,     // from submission until a lane starts its first chunk
  assemble,  // copying merged queries into one batch
  execute,   // from there until the last chunk is computed; includes waits between chunks
  gather,    // scores brought back, bookkeeping
  total,
};
inline constexpr int kStages = 5;
inline constexpr std::array<const char*, kStages> kStageNames = {"queue", "assemble", "execute",
                                                                 "gather", "total"};

class Sink;

struct Finished {
  uint64_t tag = 0;
  Sink* sink = nullptr;  // that is told
  Outcome outcome = Outcome::ok;
  bool held = false;  // chunks of it still run: its arrays are free when it comes again
  bool told = false;  // it comes again: all but its arrays was told before
  int64_t finish_ns = 0;
  std::array<int64_t, kStages> stages_ns{};  // by Stage; of Outcome::ok and ::error only
  Status status;                             // of Outcome::error
  std::string error;                         // of an executor that is not native
};

class Sink {
 public:
  virtual ~Sink() = default;

  // Each accepted query comes here, with its output written when it is ok. One that was given up
  // after it had begun comes twice: when that is decided, and when its last chunk has ended. Called
  // by lanes, the timer, submit() and shutdown(), several at a time, with no lock held; must not
  // call the dispatcher.
  virtual void finished(std::span<Finished> queries) = 0;
};

}  // namespace recstack
