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

const Decision& Board::decide(int64_t now_ns) {
  policy_->decide({waiting_, lanes_, idle_, costs_}, now_ns, &decision_);
  return decision_;
}

void Board::start(int64_t now_ns) {
  LaneState& lane = lanes_[decision_.lane];
  int64_t rows = 0;
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
      costs_.empty() ? 0 : costs_[lane.kind].service_ns(rows, queries, busy());
  lane = {.kind = lane.kind,
          .idle = false,
          .started_ns = now_ns,
          .until_ns = now_ns + service_ns,
          .rows = rows,
          .queries = queries,
          .busy = busy()};
}

void Board::end(int32_t lane_index, int64_t now_ns) {
  LaneState& lane = lanes_[lane_index];
  if (!costs_.empty()) {
    costs_[lane.kind].observe(lane.rows, lane.queries, lane.busy, now_ns - lane.started_ns);
  }
  lane = {.kind = lane.kind};
  idle_.push_back(lane_index);
}

}  // namespace recstack
