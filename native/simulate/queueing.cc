#include "simulate/queueing.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "dispatch/outcome.h"

namespace recstack {
namespace {

std::vector<int32_t> kinds_of(const std::vector<LaneKind>& kinds) {
  std::vector<int32_t> out;
  for (size_t k = 0; k < kinds.size(); ++k) {
    out.insert(out.end(), kinds[k].lanes, static_cast<int32_t>(k));
  }
  return out;
}

std::vector<CostCurve> believed(const std::vector<LaneKind>& kinds, const QueueingOptions& given) {
  if (!given.believed.empty()) return given.believed;
  std::vector<CostCurve> out;
  for (const LaneKind& kind : kinds) out.push_back(kind.cost);
  return out;
}

constexpr uint8_t code(Outcome outcome) { return static_cast<uint8_t>(outcome); }

}  // namespace

Queueing::Queueing(std::shared_ptr<const Policy> policy, std::vector<LaneKind> kinds,
                   QueueingOptions options)
    : policy_(std::move(policy)),
      kinds_(std::move(kinds)),
      options_(std::move(options)),
      board_(policy_.get(), kinds_of(kinds_), believed(kinds_, options_),
             options_.queue_queries + static_cast<int32_t>(kinds_of(kinds_).size()) * kMaxPieces),
      random_(options_.seed) {
  const int32_t capacity = options_.queue_queries + board_.lanes() * kMaxPieces;
  slots_.resize(capacity);
  for (int32_t s = capacity - 1; s >= 0; --s) free_slots_.push_back(s);
  lane_slots_.resize(board_.lanes());
  lane_ended_ns_.resize(board_.lanes(), 0);
  for (auto& slots : lane_slots_) slots.reserve(kMaxPieces);
  ends_.reserve(board_.lanes());
  trace_.begin(options_.trace_chunks);
}

QueueingCounts Queueing::run(const Arrivals& arrivals, const QueueingRecord& record) {
  arrivals_ = arrivals;
  record_ = record;
  for (int64_t next = 0;;) {
    const int64_t arrival_ns = next < arrivals.queries ? arrivals.arrival_ns[next] : kNever;
    const int64_t end_ns = ends_.empty() ? kNever : ends_.front().at_ns;
    now_ns_ = std::min({arrival_ns, end_ns, wake_ns_});
    if (now_ns_ == kNever) return counts_;
    if (end_ns == now_ns_) {
      end();
    } else if (arrival_ns == now_ns_) {
      arrive(next++);
    }
    pump();
  }
}

void Queueing::arrive(int64_t query) {
  const int64_t rows = arrivals_.rows[query];
  const Backlog& waiting = board_.waiting();
  if (waiting.queries() >= options_.queue_queries ||
      (!waiting.empty() && waiting.rows() + rows > options_.queue_rows)) {
    record_.finished_ns[query] = now_ns_;
    record_.status[query] = code(Outcome::queue_full);
    return;
  }
  const int32_t slot = free_slots_.back();
  free_slots_.pop_back();
  slots_[slot] = {
      .query = query, .running = 0, .waiting = true, .told = false, .outcome = code(Outcome::ok)};
  const bool limited = arrivals_.deadline_ns != kNever;
  board_.arrive(slot, {.rows = rows,
                       .arrival_ns = now_ns_,
                       .deadline_ns = limited ? now_ns_ + arrivals_.deadline_ns : kNever});
}

void Queueing::end() {
  std::pop_heap(ends_.begin(), ends_.end(),
                [](const End& a, const End& b) { return a.at_ns > b.at_ns; });
  const int32_t lane = ends_.back().lane;
  ends_.pop_back();
  for (const int32_t slot : lane_slots_[lane]) {
    slots_[slot].running -= 1;
    if (!slots_[slot].waiting && slots_[slot].running == 0) finish(slot);
  }
  lane_slots_[lane].clear();
  counts_.busy_ns += now_ns_ - board_.lane(lane).started_ns;
  lane_ended_ns_[lane] = now_ns_;
  board_.end(lane, now_ns_);
}

void Queueing::pump() {
  for (;;) {
    const Decision& decision = board_.decide(now_ns_);
    wake_ns_ = kNever;
    switch (decision.kind) {
      case Decision::Kind::run:
        start(decision);
        break;
      case Decision::Kind::refuse:
        refuse(decision.refused);
        break;
      case Decision::Kind::wait:
        wake_ns_ = std::max(decision.wake_ns, now_ns_ + 1);
        return;
      case Decision::Kind::none:
        return;
    }
  }
}

void Queueing::start(const Decision& decision) {
  const int32_t lane = decision.lane;
  for (const Piece& piece : decision.pieces) {
    Slot& slot = slots_[piece.slot];
    slot.running += 1;
    slot.waiting = piece.row_end < arrivals_.rows[slot.query];
    if (piece.row_begin == 0) {
      record_.started_ns[slot.query] = now_ns_;
      counts_.split_queries += slot.waiting;
    }
    lane_slots_[lane].push_back(piece.slot);
  }
  counts_.batches += 1;
  counts_.merged_batches += decision.pieces.size() > 1;
  board_.start(now_ns_);
  const LaneState& state = board_.lane(lane);
  counts_.rows += state.rows;
  LaneKind& kind = kinds_[state.kind];
  const auto mean_ns =
      static_cast<double>(kind.cost.service_ns(state.rows, state.queries, state.busy));
  const int64_t idle_ns = now_ns_ - lane_ended_ns_[lane] >= kIdleNs ? kind.idle_ns : 0;
  const auto service_ns =
      std::max<int64_t>(std::llround(mean_ns * kind.spread.draw(&random_)) + idle_ns, 1);
  for (const Piece& piece : decision.pieces) {
    trace_.add({.tag = static_cast<uint64_t>(slots_[piece.slot].query),
                .lane = lane,
                .started_ns = now_ns_,
                .executed_ns = now_ns_ + service_ns,
                .row_begin = piece.row_begin,
                .row_end = piece.row_end});
  }
  ends_.push_back({now_ns_ + service_ns, lane});
  std::push_heap(ends_.begin(), ends_.end(),
                 [](const End& a, const End& b) { return a.at_ns > b.at_ns; });
}

void Queueing::refuse(int32_t slot) {
  counts_.early += now_ns_ < board_.waiting()[slot].deadline_ns;
  board_.refuse(slot, now_ns_);
  slots_[slot].waiting = false;
  slots_[slot].outcome = code(Outcome::deadline);
  finish(slot);
}

// A refusal is told at once; the slot is kept for chunks that still run.
void Queueing::finish(int32_t slot) {
  if (slots_[slot].running == 0) free_slots_.push_back(slot);
  if (std::exchange(slots_[slot].told, true)) return;
  record_.finished_ns[slots_[slot].query] = now_ns_;
  record_.status[slots_[slot].query] = slots_[slot].outcome;
}

}  // namespace recstack
