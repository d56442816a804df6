#include "dispatch/slack.h"

#include <algorithm>

namespace recstack {
namespace {

constexpr int32_t kLookAhead = 2 * kMaxPieces;
constexpr int32_t kKindTries = 8;  // queries that an idle lane is offered
// Of the best rows per second: batches are not merged beyond the first; chunks are not cut below
// the second for the sake of others.
constexpr double kMergeShare = 0.97;
constexpr double kChunkShare = 0.9;
// Of the time to a deadline, kept for what predictions miss: when a query is cut to be in time, and
// when it is judged whether all that waits will be.
constexpr double kCutReserve = 0.2;
constexpr double kShedReserve = 0.05;
constexpr double kUnevenMost = 0.15;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

int64_t after(int64_t from_ns, double span_ns) {
  return span_ns < 4e18 - static_cast<double>(from_ns) ? from_ns + static_cast<int64_t>(span_ns)
                                                       : kNever;
}

// The end of what waits and runs, were it spread evenly over all lanes.
int64_t drained_ns(const PolicyState& state, int64_t now_ns) {
  int64_t work_ns = state.waiting.work_ns();
  for (const LaneState& lane : state.lanes) {
    if (!lane.idle) work_ns += std::max<int64_t>(lane.until_ns - now_ns, 0);
  }
  return now_ns + work_ns / static_cast<int64_t>(state.lanes.size());
}

int64_t first_free_ns(const PolicyState& state, int64_t now_ns) {
  if (!state.idle_lanes.empty()) return now_ns;
  int64_t first_ns = kNever;
  for (const LaneState& lane : state.lanes) first_ns = std::min(first_ns, lane.until_ns);
  return std::max(first_ns, now_ns);
}

int64_t idle_of_kind(const PolicyState& state, int32_t kind) {
  if (state.costs.size() == 1) return static_cast<int64_t>(state.idle_lanes.size());
  return std::count_if(state.idle_lanes.begin(), state.idle_lanes.end(),
                       [&](int32_t lane) { return state.lanes[lane].kind == kind; });
}

// By how much the predicted end of all that waits must be before a deadline. Of more than two lanes
// some end half a query before the last.
int64_t reserve_ns(const PolicyState& state, const Waiting& query) {
  const auto lanes = static_cast<int64_t>(state.lanes.size());
  const auto span_ns = static_cast<double>(query.deadline_ns - query.arrival_ns);
  const int64_t uneven_ns =
      state.waiting.typical_work_ns() * std::max<int64_t>(lanes - 2, 0) / (2 * lanes);
  return static_cast<int64_t>(kShedReserve * span_ns) +
         std::min(uneven_ns, static_cast<int64_t>(kUnevenMost * span_ns));
}

}  // namespace

void SlackPolicy::place(Costs costs, int32_t lanes, Waiting* query) const {
  if (query->deadline_ns == kNever && options_.target_ns != kNever) {
    query->deadline_ns = query->arrival_ns + options_.target_ns;
  }
  int64_t shortest_ns = costs[0].service_ns(ceil_div(query->left(), lanes), 1, lanes);
  query->work_ns = costs[0].service_ns(query->left(), 1, lanes);
  for (const CostCurve& cost : costs.subspan(1)) {
    const int64_t whole_ns = cost.service_ns(query->left());
    shortest_ns = std::min(shortest_ns, whole_ns);
    query->work_ns = std::min(query->work_ns, whole_ns);
  }
  if (query->deadline_ns != kNever) query->latest_start_ns = query->deadline_ns - shortest_ns;
  if (query->next_row > 0) return;  // keeps its place
  const double fair_ns = options_.stretch * static_cast<double>(query->work_ns);
  query->due_ns = std::min(query->deadline_ns, after(query->arrival_ns, fair_ns));
}

void SlackPolicy::decide(const PolicyState& state, int64_t now_ns, Decision* decision) const {
  decision->kind = Decision::Kind::none;
  decision->lane = -1;
  decision->pieces.clear();
  const Backlog& waiting = state.waiting;
  if (waiting.empty()) return;
  decision->refused = hopeless(state, now_ns);
  if (decision->refused >= 0) {
    decision->kind = Decision::Kind::refuse;
    return;
  }
  int32_t slot = -1, lane = -1;
  if (!place_on(state, now_ns, &slot, &lane)) {
    const int32_t urgent = waiting.most_urgent();
    if (urgent < 0) return;
    decision->kind = Decision::Kind::wait;
    decision->wake_ns = waiting[urgent].latest_start_ns + 1;
    return;
  }
  const Waiting& query = waiting[slot];
  decision->kind = Decision::Kind::run;
  decision->lane = lane;
  const CostCurve& cost = state.costs[state.lanes[lane].kind];
  const int64_t rows = chunk_rows(state, query, lane, now_ns);
  decision->pieces.push_back({slot, query.next_row, query.next_row + rows});
  if (rows == query.rows) merge(state, cost, now_ns, &decision->pieces);
}

// A query that is not to be served; -1: none.
int32_t SlackPolicy::hopeless(const PolicyState& state, int64_t now_ns) const {
  const Backlog& waiting = state.waiting;
  const int32_t urgent = waiting.most_urgent();
  if (urgent < 0) return -1;
  if (first_free_ns(state, now_ns) > waiting[urgent].latest_start_ns) return urgent;
  const Waiting& last = waiting[waiting.last()];
  const int32_t largest = waiting.largest();
  if (last.latest_start_ns == kNever || largest < 0) return -1;
  if (waiting.queries() == 1 && !state.idle_lanes.empty()) return -1;
  if (drained_ns(state, now_ns) <= last.deadline_ns - reserve_ns(state, last)) return -1;
  if (options_.shed == Shed::largest) return largest;
  return last.next_row == 0 ? waiting.last() : -1;
}

// The first in order, or before it one that could not wait for a batch more.
int32_t SlackPolicy::pick_query(const PolicyState& state, int64_t now_ns) const {
  const Backlog& waiting = state.waiting;
  const int32_t urgent = waiting.most_urgent();
  if (urgent < 0) return waiting.first();
  const int64_t near_ns = now_ns + 2 * waiting.typical_work_ns();
  return waiting[urgent].latest_start_ns <= near_ns ? urgent : waiting.first();
}

int32_t SlackPolicy::pick_lane(const PolicyState& state, const Waiting& query) const {
  int32_t best = state.idle_lanes.back();
  int64_t best_ns = kNever;
  for (auto lane = state.idle_lanes.rbegin(); lane != state.idle_lanes.rend(); ++lane) {
    const CostCurve& cost = state.costs[state.lanes[*lane].kind];
    const int64_t service_ns = cost.service_ns(query.left());
    if (service_ns < best_ns) {
      best = *lane;
      best_ns = service_ns;
    }
  }
  return best;
}

// Looks for a query that an idle lane may take: not one that would be late there, but in time on a
// busy lane of another kind. False: no lane is idle, or none of the first few queries may.
bool SlackPolicy::place_on(const PolicyState& state, int64_t now_ns, int32_t* slot,
                           int32_t* lane) const {
  if (state.idle_lanes.empty()) return false;
  const Backlog& waiting = state.waiting;
  *slot = pick_query(state, now_ns);
  if (state.costs.size() == 1) {
    *lane = state.idle_lanes.back();
    return true;
  }
  int32_t tried = 0;
  for (int32_t next = waiting.first(); tried < kKindTries; ++tried) {
    const Waiting& query = waiting[*slot];
    *lane = pick_lane(state, query);
    const int32_t kind = state.lanes[*lane].kind;
    const int64_t rows = ceil_div(query.left(), idle_of_kind(state, kind));
    if (now_ns + state.costs[kind].service_ns(rows) <= query.deadline_ns) return true;
    const bool elsewhere =
        std::any_of(state.lanes.begin(), state.lanes.end(), [&](const LaneState& other) {
          if (other.idle || other.kind == kind) return false;
          const int64_t from_ns = std::max(other.until_ns, now_ns);
          return from_ns + state.costs[other.kind].service_ns(query.left()) <= query.deadline_ns;
        });
    if (!elsewhere) return true;
    if (next < 0) return false;
    *slot = next;
    next = waiting.next(next);
  }
  return false;
}

int64_t SlackPolicy::chunk_rows(const PolicyState& state, const Waiting& query, int32_t lane,
                                int64_t now_ns) const {
  const CostCurve& cost = state.costs[state.lanes[lane].kind];
  const auto lanes = static_cast<int64_t>(state.lanes.size());
  const int64_t idle = idle_of_kind(state, state.lanes[lane].kind);
  const int64_t left = query.left();
  // Its share of the idle lanes; wide cuts cost lane time, of which idle / lanes is free.
  const int64_t width = std::max<int64_t>(idle * left / state.waiting.rows(), 1);
  const double busy_share = 1.0 - static_cast<double>(idle) / static_cast<double>(lanes + 1);
  int64_t rows = std::max(ceil_div(left, width), cost.efficient_rows(busy_share, lanes));
  // Not so long that typical queries wait behind it.
  const int64_t longest = std::max(cost.efficient_rows(kChunkShare, lanes),
                                   cost.rows_within(state.waiting.typical_work_ns(), lanes));
  rows = std::min({rows, longest, cost.most_efficient_rows(kMergeShare, lanes)});
  rows = std::clamp<int64_t>(rows, 1, left);
  int64_t chunks = std::max<int64_t>((left + rows / 2) / rows, 1);
  // No longer than its deadline allows, were lanes to take the other chunks now.
  if (query.deadline_ns != kNever) {
    const auto slack_ns = static_cast<double>(query.deadline_ns - now_ns);
    const auto safe_ns = static_cast<int64_t>(slack_ns * (1.0 - kCutReserve));
    const int64_t in_time = cost.rows_within(safe_ns, lanes);
    chunks = std::max(chunks, std::min(ceil_div(left, in_time), lanes));
  }
  return ceil_div(left, chunks);
}

void SlackPolicy::merge(const PolicyState& state, const CostCurve& cost, int64_t now_ns,
                        std::vector<Piece>* pieces) const {
  const Backlog& waiting = state.waiting;
  const auto idle = static_cast<int64_t>(state.idle_lanes.size());
  if (waiting.queries() <= idle) return;
  const auto lanes = static_cast<int64_t>(state.lanes.size());
  const int64_t limit =
      std::min(cost.efficient_rows(kMergeShare, lanes), ceil_div(waiting.rows(), idle));
  const Piece head = pieces->front();
  int64_t rows = head.row_end;
  int64_t deadline_ns = waiting[head.slot].deadline_ns;
  int64_t service_ns = cost.service_ns(rows, 1, lanes);
  int32_t looked_at = 0;
  for (int32_t slot = waiting.first(); slot >= 0; slot = waiting.next(slot)) {
    if (rows >= limit || looked_at++ == kLookAhead || pieces->size() == kMaxPieces) return;
    const Waiting& query = waiting[slot];
    if (slot == head.slot || query.next_row > 0 || rows + query.rows > limit) continue;
    if (query.merge_class != waiting[head.slot].merge_class) continue;
    const auto queries = static_cast<int64_t>(pieces->size()) + 1;
    const int64_t merged_ns = cost.service_ns(rows + query.rows, queries, lanes);
    if (now_ns + merged_ns > std::min(deadline_ns, query.deadline_ns)) continue;
    // Both end later for it: what is saved must be worth it to those that wait.
    const int64_t alone_ns = cost.service_ns(query.rows, 1, lanes);
    const int64_t saved_ns = service_ns + alone_ns - merged_ns;
    if (saved_ns * (idle + waiting.queries()) < alone_ns * idle) continue;
    deadline_ns = std::min(deadline_ns, query.deadline_ns);
    service_ns = merged_ns;
    pieces->push_back({slot, 0, query.rows});
    rows += query.rows;
  }
}

}  // namespace recstack
