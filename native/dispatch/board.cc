#include <algorithm>

#include "dispatch/policy.h"

namespace recstack {

Board::Board(const Policy* policy, const std::vector<int32_t>& kinds, std::vector<CostCurve> costs,
             int32_t capacity)
    : policy_(policy), costs_(std::move(costs)), waiting_(capacity), lanes_(kinds.size()) {
  idle_.reserve(kinds.size());
  decision_.pieces.reserve(kMaxPieces);
  for (auto lane = static_cast<int32_t>(kinds.size()) - 1; lane >= 0; --lane) {
    lanes_[lane].kind = kinds[lane];
    idle_.push_back(lane);
  }
}

void Board::arrive(int32_t slot, Waiting query) {
  policy_->place(costs_, lanes(), &query);
  waiting_.push(slot, query);
}

void Board::refuse(int32_t slot, int64_t now_ns) {
  if (busy() == 0 && now_ns < waiting_[slot].deadline_ns) {
    for (CostCurve& cost : costs_) cost.doubt();
  }
  waiting_.remove(slot);
}

const Decision& Board::decide(int64_t now_ns) {
  policy_->decide({waiting_, lanes_, idle_, costs_, pace_}, now_ns, &decision_);
  return decision_;
}

void Board::start(int64_t now_ns) {
  LaneState& lane = lanes_[decision_.lane];
  int64_t rows = 0;
  const int64_t due_ns = waiting_[decision_.pieces.front().slot].due_ns;
  for (const Piece& piece : decision_.pieces) {
    rows += piece.row_end - piece.row_begin;
    Waiting query = waiting_[piece.slot];
    query.next_row = piece.row_end;
    if (query.left() == 0) {
      waiting_.remove(piece.slot);
      continue;
    }
    policy_->place(costs_, lanes(), &query);
    waiting_.update(piece.slot, query);
  }
  std::erase(idle_, decision_.lane);
  const auto queries = static_cast<int32_t>(decision_.pieces.size());
  const int64_t service_ns =
      costs_.empty() ? pace_.batch_ns(rows) : costs_[lane.kind].service_ns(rows, queries, busy());
  lane = {.kind = lane.kind,
          .idle = false,
          .started_ns = now_ns,
          .until_ns = now_ns + service_ns,
          .rows = rows,
          .queries = queries,
          .busy = busy(),
          .due_ns = due_ns};
}

void Board::end(int32_t lane_index, int64_t now_ns, bool went_well) {
  LaneState& lane = lanes_[lane_index];
  if (went_well) {
    const int64_t took_ns = now_ns - lane.started_ns;
    if (lane.kind == 0) pace_.observe(lane.rows, took_ns);
    if (!costs_.empty()) costs_[lane.kind].observe(lane.rows, lane.queries, lane.busy, took_ns);
  }
  lane = {.kind = lane.kind};
  idle_.push_back(lane_index);
}

}  // namespace recstack
