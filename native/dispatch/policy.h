// The contract of a policy: a pure function of the state and the time.
//
// Live dispatcher and simulator call `decide` after every event (an arrival, a lane that finished,
// the time asked for by `wait`), apply the decision, and call again until it is `none` or `wait`.
// A policy holds only constants: no clock, no thread, no memory of earlier calls. What it knows of
// speed is in the state: the cost curves, by kind of lane, and the pace of the last batches.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "dispatch/backlog.h"
#include "dispatch/cost_curve.h"
#include "dispatch/lane_health.h"
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
  int32_t busy = 0;    // lanes of its kind that ran when it was dispatched, itself included
  int64_t due_ns = 0;  // of the first query in it
};

// Of the lanes in service alone, which are numbered from 0.
struct PolicyState {
  const Backlog& waiting;
  std::span<const LaneState> lanes;
  std::span<const int32_t> idle_lanes;  // the most recently busy one last
  Costs costs = {};                     // of their kinds
  Pace pace = {};                       // of lanes of kind 0
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
  // chunks was dispatched; of one that has begun `line` and `due_ns` stay.
  virtual void place(Costs costs, std::span<const LaneState> lanes, Waiting* query) const = 0;

  // Overwrites `decision`, whose vector is reused.
  virtual void decide(const PolicyState& state, int64_t now_ns, Decision* decision) const = 0;
};

// The state that a policy decides on, with what follows from a query's arrival, a decision and a
// batch's end. Live dispatcher and simulator own one each and add what they run.
//
// A lane whose executor fails batch after batch, such as one on a device that is lost, would be the
// first to be idle again and draw every query. It is taken out of service for a while
// (lane_health.h): the policy does not see it, and what waits is placed anew, as if it were not
// there. The last lane of kind 0, and the last of all, stay.
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
  // A lane's batch has ended; where all went well, curves and pace learn from how long it took.
  void end(int32_t lane, int64_t now_ns, Ended how = Ended::well);

  const Backlog& waiting() const { return waiting_; }
  const LaneState& lane(int32_t lane) const { return lanes_[place_of_[lane]]; }
  int32_t lanes() const { return static_cast<int32_t>(lanes_.size()); }
  int32_t busy() const { return serving_ - static_cast<int32_t>(idle_.size()); }
  int32_t out() const { return lanes() - serving_; }  // of service
  int64_t outages() const { return outages_; }        // how often one was taken out
  Costs costs() const { return Costs(costs_).first(std::min<size_t>(kinds_, costs_.size())); }

 private:
  std::span<const LaneState> serving() const { return std::span(lanes_).first(serving_); }
  int32_t count(int32_t kind) const;  // of lanes in service
  void take_out(int32_t lane, int64_t now_ns);
  void bring_back(int64_t now_ns);
  void exchange(int32_t place, int32_t other);
  void place_anew();

  const Policy* policy_;
  std::vector<CostCurve> costs_;
  Pace pace_;
  Backlog waiting_;
  std::vector<LaneState> lanes_;  // by place: the first `serving_` are in service
  std::vector<int32_t> lane_at_;  // (places)
  std::vector<int32_t> place_of_;
  std::vector<LaneHealth> health_;  // by lane
  std::vector<int32_t> idle_;       // places
  std::vector<int32_t> busy_of_;    // lanes, by kind
  int32_t serving_ = 0;
  int32_t kinds_ = 0;  // in service, up to the highest
  int64_t outages_ = 0;
  Decision decision_;  // its lane a lane, no place
};

}  // namespace recstack
