#include "dispatch/scheduled_run.h"

#include <time.h>

#include <algorithm>
#include <chrono>

#include "core/affinity.h"
#include "dispatch/pause.h"

namespace recstack {
namespace {

constexpr size_t kFailures = 8;
constexpr int64_t kStopLookNs = 50'000'000;  // the longest sleep between looks at stop()

void sleep_until(int64_t when_ns) {
  timespec until{};
  until.tv_sec = static_cast<time_t>(when_ns / 1'000'000'000);
  until.tv_nsec = static_cast<long>(when_ns % 1'000'000'000);
  clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr);
}

bool same(const RunFailure& a, const Status& b, const std::string& text) {
  return a.status.code == b.code && a.status.feature == b.feature && a.status.entry == b.entry &&
         a.status.column == b.column && a.status.value == b.value && a.status.limit == b.limit &&
         a.text == text;
}

}  // namespace

ScheduledRun::ScheduledRun(RunPlan plan, const RunRecord& record)
    : plan_(std::move(plan)), record_(record), buffer_of_(plan_.queries) {
  for (const BatchView& batch : plan_.batches) largest_rows_ = std::max(largest_rows_, batch.rows);
}

void ScheduledRun::run(Dispatcher* dispatcher, int64_t start_ns) {
  wake_promptly();
  for (int64_t i = 0; i < plan_.queries; ++i) {
    const int64_t due_ns = start_ns + plan_.scheduled_ns[i];
    if (!wait_until(due_ns)) break;
    issue(dispatcher, i, due_ns);
  }
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, std::chrono::nanoseconds(plan_.drain_ns),
                    [this] { return ended_ == plan_.queries || stopped_; });
  open_ = false;
  over_ = true;
}

// False when stopped.
bool ScheduledRun::wait_until(int64_t due_ns) const {
  for (int64_t left_ns; (left_ns = due_ns - now_ns() - plan_.spin_ns) > 0;) {
    if (stopped_) return false;
    sleep_until(due_ns - plan_.spin_ns - std::max<int64_t>(left_ns - kStopLookNs, 0));
  }
  while (now_ns() < due_ns) pause();
  return !stopped_;
}

void ScheduledRun::issue(Dispatcher* dispatcher, int64_t query, int64_t due_ns) {
  const bool limited = plan_.deadline_ns != kNever;
  const Submission submission{.tag = static_cast<uint64_t>(query),
                              .batch = plan_.batches[plan_.which[query]],
                              .out = take_buffer(query),
                              .deadline_ns = limited ? due_ns + plan_.deadline_ns : kNever,
                              .sink = this};
  record_.issued_ns[query] = now_ns();
  const Outcome outcome = dispatcher->submit(submission);
  if (outcome == Outcome::ok) return;
  const std::lock_guard lock(mutex_);
  record(query, outcome, now_ns());
  release(query);
}

float* ScheduledRun::take_buffer(int64_t query) {
  const std::lock_guard lock(mutex_);
  if (free_buffers_.empty()) {
    buffers_.push_back(std::make_unique<float[]>(largest_rows_ * plan_.outputs));
    free_buffers_.push_back(buffers_.back().get());
  }
  buffer_of_[query] = free_buffers_.back();
  free_buffers_.pop_back();
  in_flight_ += 1;
  return buffer_of_[query];
}

// A query has ended. Under the mutex.
void ScheduledRun::record(int64_t query, Outcome outcome, int64_t finish_ns) {
  if (!open_) return;
  record_.finished_ns[query] = finish_ns;
  record_.status[query] = static_cast<uint8_t>(outcome);
  ended_ += 1;
}

// Nobody reads or writes a query's arrays any more. Under the mutex.
void ScheduledRun::release(int64_t query) {
  free_buffers_.push_back(buffer_of_[query]);
  in_flight_ -= 1;
}

void ScheduledRun::finished(std::span<Finished> queries) {
  const std::lock_guard lock(mutex_);
  for (const Finished& query : queries) {
    const auto i = static_cast<int64_t>(query.tag);
    if (!query.held) release(i);
    if (query.told) continue;
    if (open_) {
      std::copy(query.stages_ns.begin(), query.stages_ns.end(), record_.stages_ns + i * kStages);
      if (query.outcome == Outcome::error) note_failure(query);
    }
    record(i, query.outcome, query.finish_ns);
  }
  // Told with the mutex held: who sees that all have ended may destroy this.
  if (ended_ == plan_.queries) changed_.notify_all();
}

void ScheduledRun::note_failure(const Finished& query) {
  if (failures_.size() == kFailures) return;
  for (const RunFailure& known : failures_) {
    if (same(known, query.status, query.error)) return;
  }
  failures_.push_back({static_cast<int64_t>(query.tag), query.status, query.error});
}

void ScheduledRun::stop() {
  stopped_ = true;
  const std::lock_guard lock(mutex_);
  changed_.notify_all();
}

bool ScheduledRun::idle() const {
  const std::lock_guard lock(mutex_);
  return over_ && in_flight_ == 0;
}

}  // namespace recstack
