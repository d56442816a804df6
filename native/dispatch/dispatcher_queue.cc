// What the dispatcher does under its mutex: queue, slots, lane states, and what the policy decides.
#include <algorithm>

#include "dispatch/dispatcher.h"

namespace recstack {

// A batch is done: takes its parts off their queries and makes the lane idle.
void Dispatcher::settle(int32_t lane, int64_t now_ns, Effects* effects) {
  Lane& self = *lanes_[lane];
  const BatchTimes& times = self.batch->times;
  counters_.busy_ns += times.executed_ns - times.started_ns;
  const Ended how = self.batch->ended();
  for (Part& part : self.batch->parts) {
    Slot& slot = slots_[part.slot];
    trace_.add({.tag = slot.query.tag,
                .lane = lane,
                .started_ns = times.started_ns,
                .executed_ns = times.executed_ns,
                .row_begin = part.row_begin,
                .row_end = part.row_end});
    slot.running -= 1;
    slot.started_ns = std::min(slot.started_ns, times.started_ns);
    slot.assemble_ns += times.assembled_ns - times.started_ns;
    slot.executed_ns = std::max(slot.executed_ns, times.executed_ns);
    if (!part.status.ok() && slot.outcome == Outcome::ok) {
      slot.status = part.status;
      slot.error = std::move(part.error);
      if (slot.waiting) {
        board_.remove(part.slot);
        slot.waiting = false;
      }
      slot.outcome = Outcome::error;
    }
    if (!slot.waiting && slot.running == 0) finish(part.slot, now_ns, effects);
  }
  board_.end(lane, now_ns, how);
}

// Asks the policy until it has nothing more to start.
void Dispatcher::pump(int64_t now_ns, Effects* effects) {
  Decision nothing;
  for (bool more = true; more;) {
    const Decision& decision = board_.decide(now_ns);
    switch (decision.kind) {
      case Decision::Kind::run:
        start(decision, now_ns);
        effects->wake(&lanes_[decision.lane]->parker);
        break;
      case Decision::Kind::refuse:
        drop(decision.refused, Outcome::deadline, now_ns, effects);
        break;
      case Decision::Kind::wait:
        set_timer(decision, effects);
        more = false;
        break;
      case Decision::Kind::none:
        set_timer(nothing, effects);
        more = false;
        break;
    }
  }
  if (stopping_ && board_.waiting().empty()) {
    for (const auto& lane : lanes_) effects->wake(&lane->parker);
    effects->wake(&timer_parker_);
  }
}

// Who is to ask the policy again, and when: an idle lane, the timer's thread, or nobody.
void Dispatcher::set_timer(const Decision& decision, Effects* effects) {
  const int64_t timer_ns = std::exchange(timer_ns_, kNever);
  const int32_t timer_lane = std::exchange(timer_lane_, -1);
  refusal_ns_ = kNever;
  if (decision.kind != Decision::Kind::wait) return;
  if (decision.lane < 0) {
    refusal_ns_ = decision.wake_ns;
    // It sleeps too long only when something more urgent has come.
    if (refusal_ns_ < alarm_ns_) {
      alarm_ns_ = refusal_ns_;
      effects->wake(&timer_parker_);
    }
    return;
  }
  timer_lane_ = decision.lane;
  timer_ns_ = decision.wake_ns;
  if (timer_lane_ != timer_lane || timer_ns_ < timer_ns) {
    effects->wake(&lanes_[timer_lane_]->parker);
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
    rows += piece.row_end - piece.row_begin;
  }
  lane.assigned = true;
  counters_.rows += rows;
  counters_.batches += 1;
  counters_.merged_batches += decision.pieces.size() > 1;
  lane.batch_rows.record(rows);
  board_.start(now_ns);
}

// Takes the rest of a query out of the queue and tells its end at once: chunks of it may run on.
void Dispatcher::drop(int32_t slot, Outcome outcome, int64_t now_ns, Effects* effects) {
  if (outcome == Outcome::deadline) {
    counters_.early += now_ns < board_.waiting()[slot].deadline_ns;
    board_.refuse(slot, now_ns);
  } else {
    board_.remove(slot);
  }
  slots_[slot].waiting = false;
  slots_[slot].outcome = outcome;
  finish(slot, now_ns, effects);
}

void Dispatcher::finish(int32_t slot_index, int64_t now_ns, Effects* effects) {
  Slot& slot = slots_[slot_index];
  Finished out{.tag = slot.query.tag,
               .sink = slot.query.sink != nullptr ? slot.query.sink : sink_,
               .outcome = slot.outcome,
               .held = slot.running > 0,
               .told = slot.told,
               .finish_ns = now_ns,
               .stages_ns = {},
               .status = slot.status,
               .error = std::move(slot.error)};
  const int64_t started_ns = std::min(slot.started_ns, now_ns);  // kNever: never started
  const int64_t executed_ns = slot.started_ns == kNever ? now_ns : slot.executed_ns;
  const int64_t total_ns = now_ns - slot.arrival_ns;
  out.stages_ns = {started_ns - slot.arrival_ns, slot.assemble_ns,
                   executed_ns - started_ns - slot.assemble_ns, now_ns - executed_ns, total_ns};
  if (!out.held) free_slots_.push_back(slot_index);
  effects->finished.push_back(std::move(out));
  if (std::exchange(slot.told, true)) return;
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
}

}  // namespace recstack
