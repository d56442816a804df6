#include "dispatch/slack.h"

#include <algorithm>

namespace recstack {
namespace {

constexpr int32_t kLookAhead = 2 * kMaxPieces;
constexpr int32_t kTries = 8;  // queries that an idle lane is offered
// Of the best rows per second: batches are not merged beyond the first; where all lanes have work,
// chunks are the longest within the second; they are not cut below the third for the sake of
// others, nor below the fourth for the sake of their own deadline.
constexpr double kMergeShare = 0.97;
constexpr double kBestShare = 0.99;
constexpr double kChunkShare = 0.9;
constexpr double kNarrowShare = 0.7;
// A query of more than so many times the typical work is cut into chunks of half of that, and
// leaves so many of the cores idle while its slack is so many times its work.
constexpr int64_t kLarge = 2;
constexpr double kKeptIdle = 0.25;
constexpr int64_t kAmple = 2;
// Of the time to a deadline, kept for what predictions miss: when a query is cut to be in time, and
// when it is judged whether all that waits will be.
constexpr double kCutReserve = 0.2;
constexpr double kShedReserve = 0.05;
constexpr double kUnevenMost = 0.15;
constexpr double kReserveMost = 0.5;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

int64_t after(int64_t from_ns, double span_ns) {
  return span_ns < 4e18 - static_cast<double>(from_ns) ? from_ns + static_cast<int64_t>(span_ns)
                                                       : kNever;
}

// Lanes of a kind: what slows each other down.
int64_t count_of(Costs costs, std::span<const LaneState> lanes, int32_t kind) {
  if (costs.size() == 1) return static_cast<int64_t>(lanes.size());
  return std::ranges::count(lanes, kind, &LaneState::kind);
}

int64_t cores_of(const PolicyState& state) { return count_of(state.costs, state.lanes, 0); }

int64_t idle_cores_of(const PolicyState& state) {
  if (state.costs.size() == 1) return static_cast<int64_t>(state.idle_lanes.size());
  return std::ranges::count_if(state.idle_lanes,
                               [&](int32_t lane) { return state.lanes[lane].kind == 0; });
}

// Cores that are idle or run what is due later than a query.
int64_t ready_cores(const PolicyState& state, const Waiting& query) {
  return std::ranges::count_if(state.lanes, [&](const LaneState& lane) {
    return lane.kind == 0 && (lane.idle || lane.due_ns > query.due_ns);
  });
}

// How many cores a lane does the work of, in batches of so many rows.
double speed_of(const PolicyState& state, int32_t kind, int64_t rows) {
  if (kind == 0) return 1.0;
  return static_cast<double>(state.costs[0].service_ns(rows, 1, cores_of(state))) /
         static_cast<double>(std::max<int64_t>(state.costs[kind].service_ns(rows), 1));
}

// The end of what waits, but for so much of it, and runs, were it spread evenly over all lanes.
int64_t drained_ns(const PolicyState& state, int64_t now_ns, int64_t without_ns = 0) {
  const Backlog& waiting = state.waiting;
  const int32_t largest = waiting.largest();
  const int64_t rows = largest >= 0 ? waiting[largest].rows : waiting.rows() / waiting.queries();
  auto work_ns = static_cast<double>(waiting.work_ns() - without_ns);
  double speed = 0;
  for (const LaneState& lane : state.lanes) {
    const double own = speed_of(state, lane.kind, rows);
    speed += own;
    if (!lane.idle) {
      work_ns += own * static_cast<double>(std::max<int64_t>(lane.until_ns - now_ns, 0));
    }
  }
  return after(now_ns, work_ns / speed);
}

int64_t first_free_ns(const PolicyState& state, int64_t now_ns) {
  if (!state.idle_lanes.empty()) return now_ns;
  int64_t first_ns = kNever;
  for (const LaneState& lane : state.lanes) first_ns = std::min(first_ns, lane.until_ns);
  return std::max(first_ns, now_ns);
}

// By how much the predicted end of all that waits must be before a deadline. Of more than two lanes
// some end half a query before the last; and who starts last still needs the time of a chunk that
// is worth its overhead, or chunks get ever smaller and dearer under load.
int64_t reserve_ns(const PolicyState& state, const Waiting& query) {
  const auto lanes = static_cast<int64_t>(state.lanes.size());
  const auto span_ns = static_cast<double>(query.deadline_ns - query.arrival_ns);
  const int64_t uneven_ns =
      state.waiting.typical_work_ns() * std::max<int64_t>(lanes - 2, 0) / (2 * lanes);
  const CostCurve& cost = state.costs[0];
  const int64_t cores = cores_of(state);
  const int64_t chunk_ns =
      cost.service_ns(cost.efficient_rows(kChunkShare, cores), 1, cores) * (lanes - 1) / lanes;
  const double wanted_ns = kShedReserve * span_ns +
                           std::min(static_cast<double>(uneven_ns), kUnevenMost * span_ns) +
                           static_cast<double>(chunk_ns);
  return static_cast<int64_t>(std::min(wanted_ns, kReserveMost * span_ns));
}

// Whether a query leaves the cores that are idle to those who come next.
bool stands_back(const PolicyState& state, const Waiting& query, int64_t now_ns) {
  const auto kept = static_cast<int64_t>(kKeptIdle * static_cast<double>(cores_of(state)));
  if (idle_cores_of(state) > kept) return false;
  return query.work_ns > kLarge * state.waiting.typical_work_ns() &&
         query.latest_start_ns - now_ns > kAmple * query.work_ns;
}

// Whether a query would be late on the idle cores, but in time on a device that is busy now.
bool awaits_device(const PolicyState& state, const Waiting& query, int64_t now_ns) {
  if (state.costs.size() == 1) return false;
  const int64_t rows = ceil_div(query.left(), idle_cores_of(state));
  if (now_ns + state.costs[0].service_ns(rows) <= query.deadline_ns) return false;
  return std::ranges::any_of(state.lanes, [&](const LaneState& lane) {
    if (lane.idle || lane.kind == 0) return false;
    const int64_t service_ns = state.costs[lane.kind].service_ns(query.left());
    return std::max(lane.until_ns, now_ns) + service_ns <= query.deadline_ns;
  });
}

}  // namespace

void SlackPolicy::place(Costs costs, std::span<const LaneState> lanes, Waiting* query) const {
  if (query->deadline_ns == kNever && options_.target_ns != kNever) {
    query->deadline_ns = query->arrival_ns + options_.target_ns;
  }
  const int64_t cores = count_of(costs, lanes, 0);
  const auto wide = static_cast<int64_t>(lanes.size());
  int64_t shortest_ns = costs[0].service_ns(ceil_div(query->left(), wide), 1, cores);
  query->work_ns = costs[0].service_ns(query->left(), 1, cores);
  for (const CostCurve& cost : costs.subspan(1)) {
    shortest_ns = std::min(shortest_ns, cost.service_ns(query->left()));
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
  const int64_t rows = chunk_rows(state, query, lane, now_ns);
  decision->pieces.push_back({slot, query.next_row, query.next_row + rows});
  if (rows == query.rows) merge(state, state.lanes[lane].kind, now_ns, &decision->pieces);
}

// A query that is not to be served; -1: none.
int32_t SlackPolicy::hopeless(const PolicyState& state, int64_t now_ns) const {
  const Backlog& waiting = state.waiting;
  const int32_t urgent = waiting.most_urgent();
  if (urgent < 0) return -1;
  if (first_free_ns(state, now_ns) > waiting[urgent].latest_start_ns) return urgent;
  const Backlog::Tail tail = waiting.last_limited();
  const int32_t largest = waiting.largest();
  if (tail.slot < 0 || largest < 0) return -1;
  const Waiting& last = waiting[tail.slot];
  if (waiting.queries() == 1 && !state.idle_lanes.empty()) return -1;
  if (drained_ns(state, now_ns, tail.work_ns) <= last.deadline_ns - reserve_ns(state, last))
    return -1;
  if (options_.shed == Shed::largest) return largest;
  return last.next_row == 0 ? tail.slot : -1;
}

// The first in order, or before it one that could not wait for a batch more.
int32_t SlackPolicy::pick_query(const PolicyState& state, int64_t now_ns) const {
  const Backlog& waiting = state.waiting;
  const int32_t urgent = waiting.most_urgent();
  if (urgent < 0) return waiting.first();
  const int64_t near_ns = now_ns + 2 * waiting.typical_work_ns();
  return waiting[urgent].latest_start_ns <= near_ns ? urgent : waiting.first();
}

// Of the first in order and of the largest, the query whose time on cores is the largest multiple
// of its time on an idle device; -1: there is none that ends in time and no later than on cores.
int32_t SlackPolicy::pick_for_device(const PolicyState& state, int32_t lane, int64_t now_ns) const {
  const Backlog& waiting = state.waiting;
  const CostCurve& cost = state.costs[state.lanes[lane].kind];
  const int64_t idle = idle_cores_of(state);
  const int64_t busy_end_ns = idle > 0 ? 0 : drained_ns(state, now_ns);
  int32_t best = -1;
  double best_gain = 0;
  const auto consider = [&](int32_t slot) {
    const Waiting& query = waiting[slot];
    const int64_t end_ns = now_ns + cost.service_ns(query.left());
    const int64_t alone_ns =
        state.costs[0].service_ns(ceil_div(query.left(), std::max<int64_t>(idle, 1)));
    if (end_ns > std::min(query.deadline_ns, std::max(now_ns + alone_ns, busy_end_ns))) return;
    const double gain = speed_of(state, state.lanes[lane].kind, query.left());
    if (gain > best_gain) {
      best = slot;
      best_gain = gain;
    }
  };
  int32_t slot = waiting.first();
  for (int32_t i = 0; i < kTries && slot >= 0; ++i, slot = waiting.next(slot)) consider(slot);
  slot = waiting.largest();
  for (int32_t i = 0; i < kTries && slot >= 0; ++i, slot = waiting.smaller(slot)) consider(slot);
  return best;
}

// An idle lane and the query that it is to take; false: none.
bool SlackPolicy::place_on(const PolicyState& state, int64_t now_ns, int32_t* slot,
                           int32_t* lane) const {
  const Backlog& waiting = state.waiting;
  int32_t core = -1;
  for (const int32_t idle : state.idle_lanes) {
    *lane = idle;
    if (state.lanes[idle].kind == 0) {
      core = idle;
    } else if ((*slot = pick_for_device(state, idle, now_ns)) >= 0) {
      return true;
    }
  }
  if (core < 0) return false;
  *lane = core;
  *slot = pick_query(state, now_ns);
  int32_t next = waiting.first();
  for (int32_t i = 0; i < kTries; ++i) {
    const Waiting& query = waiting[*slot];
    if (!stands_back(state, query, now_ns) && !awaits_device(state, query, now_ns)) return true;
    if (next < 0) return false;
    *slot = next;
    next = waiting.next(next);
  }
  return false;
}

int64_t SlackPolicy::chunk_rows(const PolicyState& state, const Waiting& query, int32_t lane,
                                int64_t now_ns) const {
  const int64_t left = query.left();
  if (state.lanes[lane].kind != 0) return left;
  const CostCurve& cost = state.costs[0];
  const int64_t cores = cores_of(state), ready = ready_cores(state, query);
  // Its share of the cores; wide cuts cost lane time, of which ready / cores is free.
  const int64_t width = std::max<int64_t>(ready / state.waiting.queries(), 1);
  const double busy_share = 1.0 - static_cast<double>(ready) / static_cast<double>(cores + 1);
  int64_t rows = std::max(ceil_div(left, width), cost.efficient_rows(busy_share, cores));
  rows = std::min(rows, cost.most_efficient_rows(kBestShare, cores));
  // Not so long that typical queries wait behind it.
  const int64_t typical_ns = state.waiting.typical_work_ns();
  if (query.work_ns > kLarge * typical_ns) {
    const int64_t within = cost.rows_within(typical_ns / 2, cores);
    rows = std::min(rows, std::max(cost.efficient_rows(kChunkShare, cores), within));
  }
  rows = std::clamp<int64_t>(rows, 1, left);
  int64_t chunks = std::max<int64_t>((left + rows / 2) / rows, 1);
  // No longer than its deadline allows, were lanes to take the other chunks now.
  if (query.deadline_ns != kNever) {
    const auto slack_ns = static_cast<double>(query.deadline_ns - now_ns);
    const auto safe_ns = static_cast<int64_t>(slack_ns * (1.0 - kCutReserve));
    const int64_t in_time =
        std::max(cost.rows_within(safe_ns, cores), cost.efficient_rows(kNarrowShare, cores));
    chunks = std::max(chunks, std::min(ceil_div(left, in_time), cores));
  }
  return ceil_div(left, chunks);
}

void SlackPolicy::merge(const PolicyState& state, int32_t kind, int64_t now_ns,
                        std::vector<Piece>* pieces) const {
  const Backlog& waiting = state.waiting;
  const auto idle = static_cast<int64_t>(state.idle_lanes.size());
  if (waiting.queries() <= idle) return;
  const CostCurve& cost = state.costs[kind];
  const int64_t lanes = count_of(state.costs, state.lanes, kind), cores = cores_of(state);
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
    const int64_t alone_ns = state.costs[0].service_ns(query.rows, 1, cores);
    const int64_t saved_ns = service_ns + alone_ns - merged_ns;
    if (saved_ns * (idle + waiting.queries()) < alone_ns * idle) continue;
    deadline_ns = std::min(deadline_ns, query.deadline_ns);
    service_ns = merged_ns;
    pieces->push_back({slot, 0, query.rows});
    rows += query.rows;
  }
}

}  // namespace recstack
