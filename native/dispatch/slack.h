// One code for all loads: how a query is cut follows from its slack and from what else waits.
//
//   deadline   the query's own, or target_ns after its arrival
//   order      by due time: the deadline, or arrival + stretch x its work where that is earlier, so
//              that a large query does not hold up small ones; one whose latest safe start is near
//              goes before all others
//   refuse     what cannot end in time even on all lanes; and, while what waits cannot be done in
//              time, the largest of it (Moore and Hodgson 1968: the fewest late), or the last;
//              of those that have a deadline, and of what is before the last of them
//   lane       an idle device takes the query that saves most time on cores for its time there, of
//              those that end no later than on cores; cores take the first in order
//   chunk      lanes that are idle, or run what is due later, are shared out by queries; no cut
//              costs more lane time than they have; as narrow as the deadline needs
//   large      more than twice the typical work: chunks of half the typical work, and, while its
//              slack is ample, not on the last quarter of the cores
//   merge      only while more queries wait than lanes are idle, and only up to the rows past which
//              a row is no cheaper; all end by their deadlines. So nobody waits to be merged
//              while a lane is idle, and batches grow by themselves where lanes are busy.
//
// Lanes of kind 0 are cores, which share queries; the others are devices, which take them whole.
//
// A decision costs O(lanes + log(waiting)) and at most 128 looks at queries to merge.
#pragma once

#include "dispatch/policy.h"

namespace recstack {

enum class Shed { largest, latest };

struct SlackOptions {
  int64_t target_ns = kNever;
  Shed shed = Shed::largest;
  double stretch = 8.0;  // queries overtake one that has waited less than this times its work
};

class SlackPolicy final : public Policy {
 public:
  explicit SlackPolicy(const SlackOptions& options) : options_(options) {}

  bool needs_costs() const override { return true; }
  void place(Costs costs, std::span<const LaneState> lanes, Waiting* query) const override;
  void decide(const PolicyState& state, int64_t now_ns, Decision* decision) const override;

 private:
  int32_t hopeless(const PolicyState& state, int64_t now_ns) const;
  int32_t pick_query(const PolicyState& state, int64_t now_ns) const;
  int32_t pick_for_device(const PolicyState& state, int32_t lane, int64_t now_ns) const;
  bool place_on(const PolicyState& state, int64_t now_ns, int32_t* slot, int32_t* lane) const;
  int64_t chunk_rows(const PolicyState& state, const Waiting& query, int32_t lane,
                     int64_t now_ns) const;
  void merge(const PolicyState& state, int32_t kind, int64_t now_ns,
             std::vector<Piece>* pieces) const;

  SlackOptions options_;
};

}  // namespace recstack
