#include <algorithm>
#include <numeric>
#include <utility>

#include "dispatch/policy.h"

namespace recstack {

Board::Board(const Policy* policy, const std::vector<int32_t>& kinds, std::vector<CostCurve> costs,
             int32_t capacity)
    : policy_(policy),
      costs_(std::move(costs)),
      waiting_(capacity),
      lanes_(kinds.size()),
      lane_at_(kinds.size()),
      place_of_(kinds.size()),
      health_(kinds.size()),
      serving_(static_cast<int32_t>(kinds.size())),
      kinds_(1 + *std::ranges::max_element(kinds)) {
  busy_of_.resize(kinds_);
  std::iota(lane_at_.begin(), lane_at_.end(), 0);
  std::iota(place_of_.begin(), place_of_.end(), 0);
  idle_.reserve(kinds.size());
  decision_.pieces.reserve(kMaxPieces);
  for (auto lane = static_cast<int32_t>(kinds.size()) - 1; lane >= 0; --lane) {
    lanes_[lane].kind = kinds[lane];
    idle_.push_back(lane);
  }
}

void Board::arrive(int32_t slot, Waiting query) {
  policy_->place(costs(), serving(), &query);
  waiting_.push(slot, query);
}

void Board::refuse(int32_t slot, int64_t now_ns) {
  if (busy() == 0 && now_ns < waiting_[slot].deadline_ns) {
    for (CostCurve& cost : costs_) cost.doubt();
  }
  waiting_.remove(slot);
}

const Decision& Board::decide(int64_t now_ns) {
  bring_back(now_ns);
  policy_->decide({waiting_, serving(), idle_, costs(), pace_}, now_ns, &decision_);
  if (decision_.lane >= 0) decision_.lane = lane_at_[decision_.lane];
  return decision_;
}

void Board::start(int64_t now_ns) {
  const int32_t place = place_of_[decision_.lane];
  LaneState& lane = lanes_[place];
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
    policy_->place(costs(), serving(), &query);
    waiting_.update(piece.slot, query);
  }
  std::erase(idle_, place);
  const auto queries = static_cast<int32_t>(decision_.pieces.size());
  const int32_t beside = ++busy_of_[lane.kind];
  const int64_t service_ns =
      costs_.empty() ? pace_.batch_ns(rows) : costs_[lane.kind].service_ns(rows, queries, beside);
  lane = {.kind = lane.kind,
          .idle = false,
          .started_ns = now_ns,
          .until_ns = now_ns + service_ns,
          .rows = rows,
          .queries = queries,
          .busy = beside,
          .due_ns = due_ns};
}

void Board::end(int32_t lane_index, int64_t now_ns, Ended how) {
  const int32_t place = place_of_[lane_index];
  LaneState& lane = lanes_[place];
  if (how == Ended::well) {
    const int64_t took_ns = now_ns - lane.started_ns;
    if (lane.kind == 0) pace_.observe(lane.rows, took_ns);
    if (!costs_.empty()) costs_[lane.kind].observe(lane.rows, lane.queries, lane.busy, took_ns);
  }
  lane = {.kind = lane.kind};
  idle_.push_back(place);
  busy_of_[lane.kind] -= 1;
  if (!health_[lane_index].ended(how)) return;
  const bool last = serving_ == 1 || (lane.kind == 0 && count(0) == 1);
  if (!last) take_out(lane_index, now_ns);
}

int32_t Board::count(int32_t kind) const {
  return static_cast<int32_t>(std::ranges::count(serving(), kind, &LaneState::kind));
}

// An idle lane.
void Board::take_out(int32_t lane, int64_t now_ns) {
  health_[lane].pause(now_ns);
  outages_ += 1;
  serving_ -= 1;
  exchange(place_of_[lane], serving_);
  std::erase(idle_, serving_);
  place_anew();
}

void Board::bring_back(int64_t now_ns) {
  const int32_t served = serving_;
  for (int32_t place = served; place < lanes(); ++place) {
    if (health_[lane_at_[place]].back_ns() > now_ns) continue;
    exchange(place, serving_);
    idle_.insert(idle_.begin(), serving_++);
  }
  if (serving_ > served) place_anew();
}

void Board::exchange(int32_t place, int32_t other) {
  std::swap(lanes_[place], lanes_[other]);
  std::swap(lane_at_[place], lane_at_[other]);
  place_of_[lane_at_[place]] = place;
  place_of_[lane_at_[other]] = other;
  for (int32_t& idle : idle_) {
    if (idle == place || idle == other) idle = place + other - idle;
  }
}

// Other lanes serve from now on: what waits stands where it would, had it come to them.
void Board::place_anew() {
  kinds_ = 1 + std::ranges::max(serving(), {}, &LaneState::kind).kind;
  std::vector<int32_t> slots;
  for (int32_t line = 0; line < kLines; ++line) {
    for (int32_t s = waiting_.first(line); s >= 0; s = waiting_.next(s)) slots.push_back(s);
  }
  std::ranges::stable_sort(slots, {}, [&](int32_t slot) { return waiting_[slot].arrival_ns; });
  for (const int32_t slot : slots) {
    Waiting query = waiting_[slot];
    waiting_.remove(slot);
    policy_->place(costs(), serving(), &query);
    waiting_.put_back(slot, query);
  }
}

}  // namespace recstack
