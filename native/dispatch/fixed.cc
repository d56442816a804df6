#include "dispatch/fixed.h"

#include <algorithm>

namespace recstack {
namespace {

// Queries looked at for a merge; bounds a decision's cost when the backlog is long.
constexpr int32_t kLookAhead = 2 * kMaxPieces;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

void FixedPolicy::place(Costs, int32_t, Waiting* query) const {
  query->due_ns = options_.order == Order::deadline ? query->deadline_ns : 0;
  if (query->next_row > 0) return;  // keeps its line
  query->line = options_.accelerator_rows > 0 && query->rows >= options_.accelerator_rows ? 1 : 0;
}

void FixedPolicy::decide(const PolicyState& state, int64_t now_ns, Decision* decision) const {
  decision->kind = Decision::Kind::none;
  decision->pieces.clear();
  const Backlog& waiting = state.waiting;
  if (head_of(state, 1, now_ns, decision)) {
    if (decision->kind == Decision::Kind::run) {
      const int32_t slot = waiting.first(1);
      decision->pieces.push_back({slot, 0, waiting[slot].rows});
    }
    return;
  }
  if (!head_of(state, 0, now_ns, decision) || decision->kind == Decision::Kind::refuse) return;
  const int32_t slot = waiting.first();
  const Waiting& head = waiting[slot];
  if (head.rows > options_.chunk_rows) {
    const int64_t chunks = ceil_div(head.left(), options_.chunk_rows);
    const int64_t rows = ceil_div(head.left(), chunks);
    decision->pieces.push_back({slot, head.next_row, head.next_row + rows});
    return;
  }
  decision->pieces.push_back({slot, 0, head.rows});
  if (head.rows >= options_.merge_rows) return;
  merge(state, now_ns, &decision->pieces);
  if (static_cast<int32_t>(decision->pieces.size()) < waiting.queries(0)) return;
  // All that waits is in this batch: the lane may stay idle for more, where that is wanted.
  const int64_t latest_ns = latest_start_ns(head);
  if (options_.merge_window_ns > 0 && now_ns < latest_ns && waiting.rows(0) < options_.merge_rows) {
    decision->kind = Decision::Kind::wait;
    decision->wake_ns = latest_ns;
    decision->pieces.clear();
  }
}

// Whether a line's head is to leave it, to a lane or refused.
bool FixedPolicy::head_of(const PolicyState& state, int32_t line, int64_t now_ns,
                          Decision* decision) const {
  const int32_t slot = state.waiting.first(line);
  if (slot < 0) return false;
  decision->lane = idle_lane(state, line);
  if (decision->lane < 0) return false;
  const bool late = state.waiting[slot].deadline_ns <= now_ns;
  decision->kind = late ? Decision::Kind::refuse : Decision::Kind::run;
  if (late) decision->refused = slot;
  return true;
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
  int32_t looked_at = 1;
  for (int32_t slot = waiting.next(head); slot >= 0; slot = waiting.next(slot)) {
    if (rows >= limit || looked_at++ == kLookAhead || pieces->size() == kMaxPieces) return;
    const Waiting& query = waiting[slot];
    if (query.merge_class != waiting[head].merge_class || query.deadline_ns <= now_ns) continue;
    if (query.rows > options_.chunk_rows || rows + query.rows > limit) continue;
    pieces->push_back({slot, 0, query.rows});
    rows += query.rows;
  }
}

// The window's end, or earlier where the deadline would leave less than a window for running.
int64_t FixedPolicy::latest_start_ns(const Waiting& head) const {
  return std::min(head.arrival_ns, head.deadline_ns - 2 * options_.merge_window_ns) +
         options_.merge_window_ns;
}

}  // namespace recstack
