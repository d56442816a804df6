#include "dispatch/dispatcher.h"

#include <algorithm>
#include <stdexcept>

#include "core/affinity.h"

namespace recstack {
namespace {

int32_t slots_needed(size_t lanes, const DispatcherOptions& options) {
  return options.queue_queries + static_cast<int32_t>(lanes) * kMaxPieces;
}

std::vector<int32_t> kinds_of(const std::vector<LaneOptions>& lanes) {
  std::vector<int32_t> kinds;
  for (const LaneOptions& lane : lanes) kinds.push_back(lane.kind);
  return kinds;
}

}  // namespace

Dispatcher::Dispatcher(const std::vector<LaneOptions>& lanes, const InputLayout& layout,
                       std::shared_ptr<const Policy> policy, const DispatcherOptions& options,
                       Sink* sink)
    : layout_(layout),
      options_(options),
      sink_(sink),
      policy_(std::move(policy)),
      board_(policy_.get(), kinds_of(lanes), options.costs, slots_needed(lanes.size(), options)),
      slots_(slots_needed(lanes.size(), options)),
      ready_(static_cast<ptrdiff_t>(lanes.size())) {
  for (int32_t s = static_cast<int32_t>(slots_.size()) - 1; s >= 0; --s) free_slots_.push_back(s);
  const auto count = static_cast<int32_t>(lanes.size());
  for (int32_t i = 0; i < count; ++i) lanes_.push_back(std::make_unique<Lane>());
  try {
    for (int32_t i = 0; i < count; ++i) {
      lanes_[i]->thread = std::thread([this, i, lane = lanes[i]] { run_lane(i, lane); });
    }
    timer_ = std::thread([this] { run_timer(); });
    ready_.wait();
    const std::lock_guard lock(mutex_);
    if (failure_) std::rethrow_exception(failure_);
  } catch (...) {
    shutdown(false);
    throw;
  }
}

Dispatcher::~Dispatcher() { shutdown(false); }

Outcome Dispatcher::submit(const Submission& query) {
  Effects effects;
  {
    const std::lock_guard lock(mutex_);
    const int64_t now = now_ns();
    const int64_t rows = query.batch.rows;
    if (stopping_) {
      counters_.shutting_down += 1;
      return Outcome::shutting_down;
    }
    if (query.deadline_ns <= now) {
      counters_.deadline += 1;
      return Outcome::deadline;
    }
    const Backlog& waiting = board_.waiting();
    if (waiting.queries() >= options_.queue_queries ||
        (!waiting.empty() && waiting.rows() + rows > options_.queue_rows)) {
      counters_.queue_full += 1;
      return Outcome::queue_full;
    }
    const int32_t slot = free_slots_.back();
    free_slots_.pop_back();
    slots_[slot] = Slot{.query = query,
                        .arrival_ns = now,
                        .started_ns = kNever,
                        .assemble_ns = 0,
                        .executed_ns = now,
                        .running = 0,
                        .waiting = rows > 0,
                        .told = false,
                        .outcome = Outcome::ok,
                        .status = {},
                        .error = {}};
    counters_.accepted += 1;
    if (rows == 0) {
      finish(slot, now, &effects);
    } else {
      board_.arrive(slot, {.rows = rows,
                           .arrival_ns = now,
                           .deadline_ns = query.deadline_ns,
                           .merge_class = static_cast<int32_t>(query.batch.index_type)});
      pump(now, &effects);
    }
  }
  apply(&effects, nullptr);
  return Outcome::ok;
}

void Dispatcher::shutdown(bool drain) {
  Effects effects;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    const int64_t now = now_ns();
    for (int32_t line = 0; line < kLines && !drain; ++line) {
      while (board_.waiting().queries(line) > 0) {
        drop(board_.waiting().first(line), Outcome::shutting_down, now, &effects);
      }
    }
    pump(now, &effects);
  }
  apply(&effects, nullptr);
  std::call_once(joined_, [this] {
    for (const auto& lane : lanes_) {
      if (lane->thread.joinable()) lane->thread.join();
    }
    if (timer_.joinable()) timer_.join();
  });
}

void Dispatcher::set_policy(std::shared_ptr<const Policy> policy) {
  Effects effects;
  {
    const std::lock_guard lock(mutex_);
    if (policy->needs_costs() && board_.costs().empty()) {
      throw std::invalid_argument("expected a policy that does without cost curves");
    }
    if (policy->lines() < policy_->lines()) {
      throw std::invalid_argument("expected a policy that serves lanes with queries of their own");
    }
    policy_.swap(policy);  // the one before goes without the mutex: that may take Python's lock
    board_.set_policy(policy_.get());
    pump(now_ns(), &effects);
  }
  apply(&effects, nullptr);
}

void Dispatcher::begin_trace(int64_t chunks) {
  const std::lock_guard lock(mutex_);
  trace_.begin(chunks);
}

std::vector<TracedChunk> Dispatcher::traced() const {
  const std::lock_guard lock(mutex_);
  return trace_.chunks();
}

void Dispatcher::prepare(int32_t lane, const LaneOptions& options) {
  std::string error = pin_this_thread(options.cores);
  std::exception_ptr failure;
  try {
    lanes_[lane]->batch = std::make_unique<LaneBatch>(options.make_executor(), layout_);
  } catch (...) {
    failure = std::current_exception();
  }
  const std::lock_guard lock(mutex_);
  if (!error.empty()) pin_errors_.push_back("lane " + std::to_string(lane) + ": " + error);
  if (failure) failure_ = failure;
}

void Dispatcher::run_lane(int32_t lane, const LaneOptions& options) {
  Lane& self = *lanes_[lane];
  prepare(lane, options);
  ready_.count_down();
  Effects effects;
  effects.finished.reserve(kMaxPieces);
  for (bool assigned = false, done = false; !done;) {
    if (assigned) self.batch->run();
    int64_t until_ns = kNever;
    {
      const std::lock_guard lock(mutex_);
      const int64_t now = now_ns();
      if (assigned) settle(lane, now, &effects);
      pump(now, &effects);
      assigned = std::exchange(self.assigned, false);
      done = stopping_ && board_.waiting().empty() && !assigned;
      if (timer_lane_ == lane) until_ns = timer_ns_;
    }
    apply(&effects, &self);
    if (!assigned && !done) self.parker.wait(options_.spin_ns, until_ns);
  }
}

// Looks for what is to be refused while all lanes are busy, however long their batches take.
void Dispatcher::run_timer() {
  wake_promptly();
  Effects effects;
  effects.finished.reserve(kMaxPieces);
  for (bool done = false; !done;) {
    int64_t until_ns = kNever;
    {
      const std::lock_guard lock(mutex_);
      const int64_t now = now_ns();
      if (refusal_ns_ <= now) pump(now, &effects);
      done = stopping_ && board_.waiting().empty();
      until_ns = alarm_ns_ = refusal_ns_;
    }
    apply(&effects, nullptr);
    if (!done) timer_parker_.wait(0, until_ns);
  }
}

void Dispatcher::Effects::wake(Parker* parker) {
  if (wake_count == static_cast<int32_t>(wakes.size())) {
    parker->notify();
  } else {
    wakes[wake_count++] = parker;
  }
}

void Dispatcher::apply(Effects* effects, Lane* lane) {
  for (int32_t i = 0; i < effects->wake_count; ++i) effects->wakes[i]->notify();
  effects->wake_count = 0;
  if (effects->finished.empty()) return;
  for (const Finished& query : effects->finished) {
    if (lane == nullptr || query.outcome != Outcome::ok) continue;
    for (int s = 0; s < kStages; ++s) lane->stages[s].record(query.stages_ns[s]);
  }
  const std::span<Finished> all(effects->finished);
  for (size_t begin = 0, end = 0; begin < all.size(); begin = end) {
    while (end < all.size() && all[end].sink == all[begin].sink) ++end;
    all[begin].sink->finished(all.subspan(begin, end - begin));
  }
  effects->finished.clear();
}

Counters Dispatcher::counters() const {
  const std::lock_guard lock(mutex_);
  Counters out = counters_;
  out.waiting_queries = board_.waiting().queries();
  out.waiting_rows = board_.waiting().rows();
  out.busy_lanes = board_.busy();
  out.lanes_out = board_.out();
  out.lane_outages = board_.outages();
  return out;
}

HistogramSnapshot Dispatcher::stage(Stage stage) const {
  HistogramSnapshot out;
  for (const auto& lane : lanes_) out.merge(lane->stages[static_cast<int>(stage)].snapshot());
  return out;
}

HistogramSnapshot Dispatcher::batch_rows() const {
  HistogramSnapshot out;
  for (const auto& lane : lanes_) out.merge(lane->batch_rows.snapshot());
  return out;
}

std::vector<std::string> Dispatcher::pin_errors() const {
  const std::lock_guard lock(mutex_);
  return pin_errors_;
}

}  // namespace recstack
