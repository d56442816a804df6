#include "dispatch/fixed.h"

#include <algorithm>

namespace recstack {
namespace {

// Queries looked at for a merge; bounds a decision's cost when the backlog is long.
constexpr int32_t kLookAhead = 2 * kMaxPieces;
// Of the time from a query's arrival to its deadline, kept for what predictions miss.
constexpr double kReserve = 0.05;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

void FixedPolicy::place(Costs, std::span<const LaneState> lanes, Waiting* query) const {
  if (query->next_row > 0) return;  // keeps its place
  query->due_ns = options_.order == Order::deadline ? query->deadline_ns : 0;
  query->line = has_accelerators(lanes) && query->rows >= options_.accelerator_rows ? 1 : 0;
  if (query->deadline_ns != kNever) query->latest_start_ns = query->deadline_ns - 1;
}

void FixedPolicy::decide(const PolicyState& state, int64_t now_ns, Decision* decision) const {
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
  int32_t line = 1;
  for (; line >= 0; --line) {
    if (waiting.first(line) < 0) continue;
    decision->lane = idle_lane(state, line);
    if (decision->lane >= 0) break;
  }
  if (line < 0) {
    const int32_t urgent = waiting.most_urgent();
    if (urgent < 0) return;
    decision->kind = Decision::Kind::wait;
    decision->wake_ns = waiting[urgent].latest_start_ns + 1;
    return;
  }

  const int32_t slot = waiting.first(line);
  const Waiting& head = waiting[slot];
  decision->kind = Decision::Kind::run;
  if (line == 1) {
    decision->pieces.push_back({slot, 0, head.rows});
    return;
  }
  const int64_t chunks = ceil_div(head.left(), options_.chunk_rows);
  const int64_t rows = ceil_div(head.left(), chunks);
  decision->pieces.push_back({slot, head.next_row, head.next_row + rows});
  if (rows < head.rows || rows >= options_.merge_rows) return;
  merge(state, now_ns, &decision->pieces);
  if (static_cast<int32_t>(decision->pieces.size()) < waiting.queries(0)) return;
  // All that waits is in this batch: the lane may stay idle for more, where that is wanted.
  const int64_t latest_ns = latest_start_ns(state, head);
  if (options_.merge_window_ns > 0 && now_ns < latest_ns && waiting.rows(0) < options_.merge_rows) {
    decision->kind = Decision::Kind::wait;
    decision->wake_ns = latest_ns;
    decision->pieces.clear();
  }
}

// Whether lanes are kept for queries of their own.
bool FixedPolicy::has_accelerators(std::span<const LaneState> lanes) const {
  return options_.accelerator_rows > 0 &&
         std::ranges::any_of(lanes, [](const LaneState& lane) { return lane.kind > 0; });
}

// A query that is not to be served; -1: none.
int32_t FixedPolicy::hopeless(const PolicyState& state, int64_t now_ns) const {
  const Backlog& waiting = state.waiting;
  const int32_t urgent = waiting.most_urgent();
  if (urgent < 0) return -1;
  if (now_ns > waiting[urgent].latest_start_ns) return urgent;
  if (state.idle_lanes.size() == state.lanes.size() || has_accelerators(state.lanes)) return -1;
  const Backlog::Tail tail =
      state.idle_lanes.empty() ? waiting.last_limited() : Backlog::Tail{.slot = waiting.first()};
  if (tail.slot < 0) return -1;
  const int32_t slot = tail.slot;
  const Waiting& query = waiting[slot];
  if (query.next_row > 0 || query.deadline_ns == kNever) return -1;
  int64_t ahead_ns = 0;
  if (state.idle_lanes.empty()) {
    ahead_ns = work_ns(state.pace, waiting.queries() - 1 - tail.queries,
                       waiting.rows() - query.rows - tail.rows);
    for (const LaneState& lane : state.lanes) {
      ahead_ns += std::max<int64_t>(lane.until_ns - now_ns, 0);
    }
  }
  const int64_t end_ns = now_ns + ahead_ns / static_cast<int64_t>(state.lanes.size());
  return end_ns > query.deadline_ns - needed_ns(state, query) ? slot : -1;
}

// How long before its deadline a query must have all lanes for itself.
int64_t FixedPolicy::needed_ns(const PolicyState& state, const Waiting& query) const {
  const int64_t chunks = ceil_div(query.rows, options_.chunk_rows);
  const int64_t rounds = ceil_div(chunks, static_cast<int64_t>(state.lanes.size()));
  const auto span_ns = static_cast<double>(query.deadline_ns - query.arrival_ns);
  return rounds * state.pace.batch_ns(ceil_div(query.rows, chunks)) +
         static_cast<int64_t>(kReserve * span_ns);
}

// Of queries that wait, in as few batches as they can be.
int64_t FixedPolicy::work_ns(const Pace& pace, int64_t queries, int64_t rows) const {
  if (queries == 0) return 0;
  const int64_t each = ceil_div(rows, queries);
  const int64_t fullest = std::max(std::min(each, options_.chunk_rows),
                                   std::min(kMaxPieces * each, options_.merge_rows));
  const int64_t batches = ceil_div(rows, fullest);
  return batches * pace.batch_ns(ceil_div(rows, batches));
}

// The most recently busy one that serves a line; -1: none.
int32_t FixedPolicy::idle_lane(const PolicyState& state, int32_t line) const {
  for (auto lane = state.idle_lanes.rbegin(); lane != state.idle_lanes.rend(); ++lane) {
    const bool accelerator = state.lanes[*lane].kind > 0;
    if (line == 1 ? accelerator : !accelerator || options_.accelerator_rows == 0) return *lane;
  }
  return -1;
}

// How many serve the first line.
int64_t FixedPolicy::idle_lanes(const PolicyState& state) const {
  if (options_.accelerator_rows == 0) return static_cast<int64_t>(state.idle_lanes.size());
  return std::count_if(state.idle_lanes.begin(), state.idle_lanes.end(),
                       [&](int32_t lane) { return state.lanes[lane].kind == 0; });
}

void FixedPolicy::merge(const PolicyState& state, int64_t now_ns,
                        std::vector<Piece>* pieces) const {
  const Backlog& waiting = state.waiting;
  const int32_t head = waiting.first();
  // With several idle lanes each gets a share: an idle lane costs more than a small batch.
  const int64_t idle = idle_lanes(state);
  const int64_t limit = std::min(options_.merge_rows, ceil_div(waiting.rows(0), idle));
  int64_t rows = waiting[head].rows;
  int64_t deadline_ns = waiting[head].deadline_ns;
  int32_t looked_at = 1;
  for (int32_t slot = waiting.next(head); slot >= 0; slot = waiting.next(slot)) {
    if (rows >= limit || looked_at++ == kLookAhead || pieces->size() == kMaxPieces) return;
    const Waiting& query = waiting[slot];
    if (query.merge_class != waiting[head].merge_class) continue;
    if (query.next_row > 0 || query.rows > options_.chunk_rows) continue;
    if (rows + query.rows > limit) continue;
    const int64_t end_ns = now_ns + state.pace.batch_ns(rows + query.rows);
    if (end_ns >= std::min(deadline_ns, query.deadline_ns)) continue;
    deadline_ns = std::min(deadline_ns, query.deadline_ns);
    pieces->push_back({slot, 0, query.rows});
    rows += query.rows;
  }
}

// The window's end, or earlier where the deadline would leave less than that, or than a window.
int64_t FixedPolicy::latest_start_ns(const PolicyState& state, const Waiting& head) const {
  const int64_t kept_ns = std::max(options_.merge_window_ns, needed_ns(state, head));
  return std::min(head.arrival_ns + options_.merge_window_ns, head.deadline_ns - kept_ns);
}

}  // namespace recstack
