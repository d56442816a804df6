// The contract of a policy: a pure function of the state and the time.
//
// Live dispatcher and simulator call `decide` after every event (an arrival, a lane that finished,
// the time asked for by `wait`), apply the decision, and call again until it is `none` or `wait`.
// A policy holds only constants: no clock, no thread, no memory of earlier calls. What it knows of
// speed is in the state: the cost curves, by kind of lane, and the pace of the last batches.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "dispatch/backlog.h"
#include "dispatch/cost_curve.h"
#include "dispatch/pace.h"

namespace recstack {

inline constexpr int32_t kMaxPieces = 64;  // queries in one batch

// What a lane is doing.
struct LaneState {
  int32_t kind = 0;  // whose cost curve holds for it
  bool idle = true;
  int64_t started_ns = 0;  // when its batch was dispatched, while busy
  int64_t until_ns = 0;    // when it is predicted to end, while busy: by costs, else by pace
  int64_t rows = 0;        // of that batch
  int32_t queries = 0;
  int32_t busy = 0;    // lanes that ran when it was dispatched, itself included
  int64_t due_ns = 0;  // of the first query in it
};

struct PolicyState {
  const Backlog& waiting;
  std::span<const LaneState> lanes;
  std::span<const int32_t> idle_lanes;  // the most recently busy one last
  Costs costs = {};
  Pace pace = {};  // of lanes of kind 0
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
    wait,    // call again at `wake_ns`, or at an earlier event; `lane`, if any, stays idle
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

  // Whether it cannot do without cost curves, one per kind of lane.
  virtual bool needs_costs() const { return false; }
  // How many of the backlog's lines it fills and serves: the first so many.
  virtual int32_t lines() const { return 1; }

  // Says where a query stands in the backlog (backlog.h), on its arrival and after each of its
  // chunks was dispatched.
  virtual void place(Costs costs, int32_t lanes, Waiting* query) const = 0;

  // Overwrites `decision`, whose vector is reused.
  virtual void decide(const PolicyState& state, int64_t now_ns, Decision* decision) const = 0;
};

// The state that a policy decides on, with what follows from a query's arrival, a decision and a
// batch's end. Live dispatcher and simulator own one each and add what they run.
class Board {
 public:
  // `kinds`: of each lane; `costs`: of each kind, or none.
  Board(const Policy* policy, const std::vector<int32_t>& kinds, std::vector<CostCurve> costs,
        int32_t capacity);

  void arrive(int32_t slot, Waiting query);
  void remove(int32_t slot) { waiting_.remove(slot); }
  // The last decision refuses it. Were all lanes idle, then nothing but curves said so, and no
  // batch would ever set them right: they give way a little, so that in the end one is tried.
  void refuse(int32_t slot, int64_t now_ns);
  const Decision& decide(int64_t now_ns);
  // Decides from now on; what waits keeps its place.
  void set_policy(const Policy* policy) { policy_ = policy; }

  // Takes the last decision's pieces off the backlog and makes its lane busy.
  void start(int64_t now_ns);
  // A lane's batch has ended; where all `went_well`, curves and pace learn from how long it took.
  void end(int32_t lane, int64_t now_ns, bool went_well = true);

  const Backlog& waiting() const { return waiting_; }
  const LaneState& lane(int32_t lane) const { return lanes_[lane]; }
  int32_t lanes() const { return static_cast<int32_t>(lanes_.size()); }
  int32_t busy() const { return static_cast<int32_t>(lanes_.size() - idle_.size()); }
  Costs costs() const { return costs_; }

 private:
  const Policy* policy_;
  std::vector<CostCurve> costs_;
  Pace pace_;
  Backlog waiting_;
  std::vector<LaneState> lanes_;
  std::vector<int32_t> idle_;
  Decision decision_;
};

}  // namespace recstack
