// One batch size for all loads: `static` and `deeprecsched` differ in where it comes from.
//
//   refuse: who is past the deadline; the last in order that has one, when all before it is
//           predicted to end too late for it; the head, when it would end too late though it began
//           now
//   head larger than chunk_rows: the next of ceil(rows / chunk_rows) nearly equal chunks
//   else: head and the whole small queries behind it that fit in merge_rows, as one batch, while
//         all of them are predicted to be in time
//
// Predictions are by the pace of the last batches (pace.h), so that they need no measured costs; a
// query that has all lanes for itself is never refused before its deadline.
//
// With accelerators, the lanes of kinds other than 0, queries of accelerator_rows or more wait in a
// line of their own and go whole to one of them, one at a time; the other lanes get the rest. Then
// only what is past its deadline is refused. While none of them is in service it is as without.
//
// `static`: chunk_rows = ceil(largest query / lanes). `deeprecsched`: chunk_rows found by hill
// climbing on the measured QPS@SLA (Gupta et al., DeepRecSys, ISCA 2020, section IV), and then
// accelerator_rows likewise, see recstack/schedule/policies.py. Neither merges in the paper;
// merge_rows 0 is that.
#pragma once

#include "dispatch/policy.h"

namespace recstack {

enum class Order { arrival, deadline };

struct FixedOptions {
  int64_t chunk_rows = 256;
  int64_t merge_rows = 0;       // 0: never merge
  int64_t merge_window_ns = 0;  // how long an idle lane may wait for queries to merge; 0: never
  Order order = Order::arrival;
  int64_t accelerator_rows = 0;  // 0: all lanes are alike
};

class FixedPolicy final : public Policy {
 public:
  explicit FixedPolicy(const FixedOptions& options) : options_(options) {}

  int32_t lines() const override { return options_.accelerator_rows > 0 ? 2 : 1; }
  void place(Costs costs, std::span<const LaneState> lanes, Waiting* query) const override;
  void decide(const PolicyState& state, int64_t now_ns, Decision* decision) const override;

 private:
  bool has_accelerators(std::span<const LaneState> lanes) const;
  int32_t hopeless(const PolicyState& state, int64_t now_ns) const;
  int64_t work_ns(const Pace& pace, int64_t queries, int64_t rows) const;
  int32_t idle_lane(const PolicyState& state, int32_t line) const;
  int64_t idle_lanes(const PolicyState& state) const;
  void merge(const PolicyState& state, int64_t now_ns, std::vector<Piece>* pieces) const;
  int64_t needed_ns(const PolicyState& state, const Waiting& query) const;
  int64_t latest_start_ns(const PolicyState& state, const Waiting& head) const;

  FixedOptions options_;
};

}  // namespace recstack
