// What the dispatcher does under its mutex: queue, slots, lane states, and what the policy decides.
#include <algorithm>

#include "dispatch/dispatcher.h"

namespace recstack {

// A batch is done: takes its parts off their queries and makes the lane idle.
void Dispatcher::settle(int32_t lane, int64_t now_ns, Effects* effects) {
  Lane& self = *lanes_[lane];
  const BatchTimes& times = self.batch->times;
  counters_.busy_ns += times.executed_ns - times.started_ns;
  for (Part& part : self.batch->parts) {
    Slot& slot = slots_[part.slot];
    trace_.add(slot.query.tag, lane, times, part);
    slot.running -= 1;
    slot.started_ns = std::min(slot.started_ns, times.started_ns);
    slot.assemble_ns += times.assembled_ns - times.started_ns;
    slot.executed_ns = std::max(slot.executed_ns, times.executed_ns);
    if (!part.status.ok() && slot.outcome == Outcome::ok) {
      slot.status = part.status;
      slot.error = std::move(part.error);
      if (slot.waiting) {
        backlog_.remove(part.slot);
        slot.waiting = false;
      }
      slot.outcome = Outcome::error;
    }
    if (!slot.waiting && slot.running == 0) finish(part.slot, now_ns, effects);
  }
  lane_states_[lane] = LaneState{};
  idle_lanes_.push_back(lane);
}

// Asks the policy until it has nothing more to start.
void Dispatcher::pump(int64_t now_ns, Effects* effects) {
  const int64_t timer_ns = std::exchange(timer_ns_, kNever);
  const int32_t timer_lane = std::exchange(timer_lane_, -1);
  for (bool more = true; more;) {
    policy_->decide({backlog_, lane_states_, idle_lanes_}, now_ns, &decision_);
    switch (decision_.kind) {
      case Decision::Kind::run:
        start(decision_, now_ns);
        effects->wake(&lanes_[decision_.lane]->parker);
        break;
      case Decision::Kind::refuse:
        drop(decision_.refused, Outcome::deadline, now_ns, effects);
        break;
      case Decision::Kind::wait:
        timer_lane_ = decision_.lane;
        timer_ns_ = decision_.wake_ns;
        if (timer_lane_ != timer_lane || timer_ns_ < timer_ns) {
          effects->wake(&lanes_[timer_lane_]->parker);
        }
        more = false;
        break;
      case Decision::Kind::none:
        more = false;
        break;
    }
  }
  if (stopping_ && backlog_.empty()) {
    for (const auto& lane : lanes_) effects->wake(&lane->parker);
  }
}

void Dispatcher::start(const Decision& decision, int64_t now_ns) {
  Lane& lane = *lanes_[decision.lane];
  int64_t rows = 0;
  lane.batch->parts.clear();
  for (const Piece& piece : decision.pieces) {
    Slot& slot = slots_[piece.slot];
    lane.batch->parts.push_back({.slot = piece.slot,
                                 .batch = slot.query.batch,
                                 .row_begin = piece.row_begin,
                                 .row_end = piece.row_end,
                                 .out = slot.query.out,
                                 .status = {},
                                 .error = {}});
    slot.running += 1;
    slot.waiting = piece.row_end < slot.query.batch.rows;
    if (piece.row_begin == 0 && slot.waiting) counters_.split_queries += 1;
    backlog_.advance(piece.slot, piece.row_end);
    rows += piece.row_end - piece.row_begin;
  }
  lane.assigned = true;
  lane_states_[decision.lane] = {.idle = false, .started_ns = now_ns, .rows = rows};
  std::erase(idle_lanes_, decision.lane);
  counters_.rows += rows;
  counters_.batches += 1;
  counters_.merged_batches += decision.pieces.size() > 1;
  lane.batch_rows.record(rows);
}

// Takes the rest of a query out of the queue; it ends once its running chunks have.
void Dispatcher::drop(int32_t slot, Outcome outcome, int64_t now_ns, Effects* effects) {
  backlog_.remove(slot);
  slots_[slot].waiting = false;
  slots_[slot].outcome = outcome;
  if (slots_[slot].running == 0) finish(slot, now_ns, effects);
}

void Dispatcher::finish(int32_t slot_index, int64_t now_ns, Effects* effects) {
  Slot& slot = slots_[slot_index];
  Finished out{.tag = slot.query.tag,
               .sink = slot.query.sink != nullptr ? slot.query.sink : sink_,
               .outcome = slot.outcome,
               .finish_ns = now_ns,
               .stages_ns = {},
               .status = slot.status,
               .error = std::move(slot.error)};
  const int64_t started_ns = std::min(slot.started_ns, now_ns);  // kNever: never started
  const int64_t executed_ns = slot.started_ns == kNever ? now_ns : slot.executed_ns;
  const int64_t total_ns = now_ns - slot.arrival_ns;
  out.stages_ns = {started_ns - slot.arrival_ns, slot.assemble_ns,
                   executed_ns - started_ns - slot.assemble_ns, now_ns - executed_ns, total_ns};
  switch (slot.outcome) {
    case Outcome::ok:
      counters_.completed += 1;
      break;
    case Outcome::deadline:
      counters_.deadline += 1;
      break;
    case Outcome::shutting_down:
      counters_.shutting_down += 1;
      break;
    default:
      counters_.failed += 1;
  }
  effects->finished.push_back(std::move(out));
  free_slots_.push_back(slot_index);
}

}  // namespace recstack
