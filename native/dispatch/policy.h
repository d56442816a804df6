// The contract of a policy: a pure function of the state and the time.
//
// Live dispatcher and simulator call `decide` after every event (an arrival, a lane that finished,
// the time asked for by `wait`), apply the decision, and call again until it is `none` or `wait`.
// A policy holds only constants: no clock, no thread, no memory of earlier calls.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "dispatch/backlog.h"

namespace recstack {

inline constexpr int32_t kMaxPieces = 64;  // queries in one batch

// What a lane is doing.
struct LaneState {
  bool idle = true;
  int64_t started_ns = 0;  // when its batch was dispatched, while busy
  int64_t rows = 0;        // of that batch
};

struct PolicyState {
  const Backlog& waiting;
  std::span<const LaneState> lanes;
  std::span<const int32_t> idle_lanes;  // the most recently busy one last
};

// Rows [row_begin, row_end) of a waiting query; row_begin is its `next_row`.
struct Piece {
  int32_t slot;
  int64_t row_begin;
  int64_t row_end;
};

struct Decision {
  enum class Kind {
    none,    // nothing to do until the next event
    run,     // `lane` runs `pieces` as one batch
    refuse,  // the query in `refused` is not to be served: its deadline
    wait,    // call again at `wake_ns`, or at an earlier event; `lane` stays idle meanwhile
  };
  Kind kind = Kind::none;
  int32_t lane = -1;
  int32_t refused = -1;
  int64_t wake_ns = kNever;
  std::vector<Piece> pieces;  // several only if each is a whole query, all of one merge class
};

class Policy {
 public:
  virtual ~Policy() = default;

  // The order that the backlog is to be kept in.
  virtual Order order() const = 0;

  // Overwrites `decision`, whose vector is reused.
  virtual void decide(const PolicyState& state, int64_t now_ns, Decision* decision) const = 0;
};

}  // namespace recstack
