// All at once: threads submit and read, policies are swapped, deadlines pass, runs are called off,
// and the dispatcher is closed and replaced by one with other lanes. Every accepted query ends
// once, with its own scores or the reason why not, and nothing is lost or counted twice.
#include <atomic>
#include <memory>
#include <mutex>
#include <random>
#include <thread>

#include "check.h"
#include "dispatch/dispatcher.h"
#include "dispatch/fixed.h"
#include "dispatch/scheduled_run.h"
#include "dispatch/slack.h"
#include "dispatch_queries.h"

namespace recstack {
namespace {

using test::mixed_layout;
using test::one_user;
using test::Query;
using test::SumExecutor;

constexpr int kThreads = 3, kEach = 1500, kKinds = 30, kDispatchers = 6;
constexpr int kBad = kKinds - 1;  // holds an index out of range

// Throws now and then, as no executor should.
class MoodyExecutor final : public SumExecutor {
 public:
  using SumExecutor::SumExecutor;
  Status run(const BatchView& batch, int64_t row_begin, int64_t row_end, float* out) override {
    if (++runs_ % 97 == 0) throw std::runtime_error("out of luck");
    return SumExecutor::run(batch, row_begin, row_end, out);
  }

 private:
  int runs_ = 0;
};

// Ends of the queries of all threads, by tag.
class Ends final : public Sink {
 public:
  explicit Ends(size_t queries) : ends_(queries), outcomes_(queries) {}
  void finished(std::span<Finished> queries) override {
    for (const Finished& query : queries) {
      if (query.told) continue;
      outcomes_[query.tag] = query.outcome;
      ends_[query.tag].fetch_add(1, std::memory_order_release);
      seen_ += 1;
    }
  }
  int times(size_t tag) const { return ends_[tag].load(std::memory_order_acquire); }
  Outcome outcome(size_t tag) const { return outcomes_[tag]; }
  int64_t seen() const { return seen_; }

 private:
  std::vector<std::atomic<int>> ends_;
  std::vector<Outcome> outcomes_;
  std::atomic<int64_t> seen_{0};
};

// The dispatcher of the day.
class Current {
 public:
  std::shared_ptr<Dispatcher> get() const {
    const std::lock_guard lock(mutex_);
    return dispatcher_;
  }
  std::shared_ptr<Dispatcher> exchange(std::shared_ptr<Dispatcher> other) {
    const std::lock_guard lock(mutex_);
    dispatcher_.swap(other);
    return other;
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<Dispatcher> dispatcher_;
};

std::shared_ptr<Dispatcher> make(const InputLayout& layout, int lanes, Sink* sink) {
  std::vector<LaneOptions> options(lanes);
  for (LaneOptions& lane : options) {
    lane.make_executor = [layout] { return std::make_unique<MoodyExecutor>(layout); };
  }
  options.back().kind = 1;
  const CostCurve curve({.busy = {1, 2}, .service_ns = {5e3, 6e3, 8e3, 1e4, 6e3, 8e3, 1e4, 2e4}});
  return std::make_shared<Dispatcher>(options, layout,
                                      std::make_shared<FixedPolicy>(FixedOptions{}),
                                      DispatcherOptions{.queue_queries = 48,
                                                        .queue_rows = 600,
                                                        .spin_ns = lanes % 2 * 20'000,
                                                        .costs = {curve, curve}},
                                      sink);
}

std::shared_ptr<const Policy> policy_of(uint64_t i) {
  const FixedOptions window{.chunk_rows = 9, .merge_rows = 40, .merge_window_ns = 200'000};
  const FixedOptions deadline{.chunk_rows = 5, .merge_rows = 16, .order = Order::deadline};
  switch (i % 4) {
    case 0:
      return std::make_shared<FixedPolicy>(window);
    case 1:
      return std::make_shared<SlackPolicy>(SlackOptions{.target_ns = 3'000'000});
    case 2:
      return std::make_shared<FixedPolicy>(deadline);
    default:
      return std::make_shared<SlackPolicy>(SlackOptions{.shed = Shed::latest, .stretch = 1.0});
  }
}

// None, long ones, short ones, and the ends of what can be said.
int64_t deadline_of(uint64_t i) {
  switch (i % 7) {
    case 0:
      return now_ns() + 30'000;
    case 1:
      return now_ns() + 2'000'000;
    case 2:
      return now_ns() + 1'000'000'000;
    case 3:
      return kNever - 1;
    case 4:
      return i % 49 == 4 ? std::numeric_limits<int64_t>::min() : now_ns() + 200'000;
    default:
      return kNever;
  }
}

// A run on the dispatcher of the day that is called off in the middle.
void run_and_stop(Dispatcher* dispatcher, const Query& query) {
  constexpr int64_t kQueries = 200;
  std::vector<int64_t> scheduled(kQueries), issued(kQueries), finished(kQueries),
      stages(kQueries * kStages);
  std::vector<int32_t> which(kQueries);
  std::vector<uint8_t> status(kQueries);
  for (int64_t i = 0; i < kQueries; ++i) scheduled[i] = i * 20'000;
  ScheduledRun run({.queries = kQueries,
                    .scheduled_ns = scheduled.data(),
                    .which = which.data(),
                    .batches = {query.view},
                    .outputs = 2,
                    .deadline_ns = 5'000'000,
                    .drain_ns = 1'000'000},
                   {issued.data(), finished.data(), status.data(), stages.data()});
  std::thread issuing([&] { run.run(dispatcher, now_ns()); });
  std::this_thread::sleep_for(std::chrono::microseconds(1500));
  run.stop();
  issuing.join();
  while (!run.idle()) std::this_thread::yield();
}

struct Tally {
  std::atomic<int64_t> accepted = 0, closed = 0;
};

// Submits its share; what a closed dispatcher refuses goes to the next one.
void submit_all(int thread, const Current& current, const std::vector<Query>& kinds,
                std::vector<std::vector<float>>* outs, std::vector<Outcome>* first, Tally* tally) {
  std::mt19937_64 random(thread);
  for (int i = 0; i < kEach; ++i) {
    const auto tag = static_cast<size_t>(thread * kEach + i);
    const Query& query = kinds[tag % kKinds];
    (*outs)[tag].assign(query.want.size(), -1.0f);
    Outcome outcome;
    while ((outcome = current.get()->submit({.tag = tag,
                                             .batch = query.view,
                                             .out = (*outs)[tag].data(),
                                             .deadline_ns = deadline_of(random())})) ==
           Outcome::shutting_down) {
      tally->closed += 1;
    }
    (*first)[tag] = outcome;
    tally->accepted += outcome == Outcome::ok;
    if (random() % 4 == 0) std::this_thread::sleep_for(std::chrono::microseconds(random() % 200));
  }
}

void all_at_once() {
  const InputLayout layout = mixed_layout(true);
  std::vector<Query> kinds;
  for (int32_t i = 0; i < kKinds; ++i) {
    auto offsets = i % 5 == 4 ? std::vector<int32_t>{0, i / 2, i / 2, i} : one_user(i);
    kinds.emplace_back(layout, std::move(offsets), i % 3 == 0, i);
  }
  kinds[kBad].break_value(0);
  Ends ends(kThreads * kEach);
  std::vector<std::vector<float>> outs(kThreads * kEach);
  std::vector<Outcome> first(kThreads * kEach);
  Tally tally;
  Current current;
  current.exchange(make(layout, 2, &ends));

  std::atomic<bool> over = false;
  std::vector<std::thread> others;
  others.emplace_back([&] {
    for (uint64_t i = 0; !over; ++i) {
      current.get()->set_policy(policy_of(i));
      std::this_thread::sleep_for(std::chrono::microseconds(150));
    }
  });
  others.emplace_back([&] {
    while (!over) {
      const auto dispatcher = current.get();
      dispatcher->begin_trace(50);
      const Counters now = dispatcher->counters();
      CHECK(now.waiting_queries >= 0 && now.waiting_rows >= 0 && now.busy_lanes >= 0);
      CHECK(dispatcher->traced().size() <= 50);
      CHECK(dispatcher->stage(Stage::total).percentile(0.99) >= 0);
      dispatcher->batch_rows();
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
  });
  others.emplace_back([&] {
    while (!over) run_and_stop(current.get().get(), kinds[7]);
  });
  std::vector<std::thread> submitting;
  for (int t = 0; t < kThreads; ++t) {
    submitting.emplace_back([&, t] { submit_all(t, current, kinds, &outs, &first, &tally); });
  }
  std::vector<std::shared_ptr<Dispatcher>> before;
  const auto close = [&](const std::shared_ptr<Dispatcher>& dispatcher, bool drain) {
    std::thread also([&] { dispatcher->shutdown(drain); });
    dispatcher->shutdown(drain);
    also.join();
    before.push_back(dispatcher);
  };
  for (int i = 1; i < kDispatchers; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    auto next = make(layout, 1 + i % 4, &ends);
    if (i % 2 == 0) {  // refuses for a moment
      const auto closing = current.get();
      close(closing, false);
      current.exchange(std::move(next));
    } else {
      close(current.exchange(std::move(next)), true);
    }
  }
  for (std::thread& thread : submitting) thread.join();
  over = true;
  for (std::thread& thread : others) thread.join();
  close(current.get(), true);

  Counters sum;
  for (const auto& dispatcher : before) {
    const Counters c = dispatcher->counters();
    CHECK_EQ(c.busy_lanes, 0);
    CHECK_EQ(c.waiting_queries, 0);
    CHECK_EQ(c.waiting_rows, 0);
    sum.completed += c.completed;
  }
  CHECK_EQ(ends.seen(), tally.accepted.load());
  CHECK(sum.completed > 100);
  for (int tag = 0; tag < kThreads * kEach; ++tag) {
    CHECK_EQ(ends.times(tag), first[tag] == Outcome::ok ? 1 : 0);
    if (first[tag] != Outcome::ok || ends.outcome(tag) != Outcome::ok) continue;
    CHECK(tag % kKinds != kBad);
    const std::vector<float>& want = kinds[tag % kKinds].want;
    CHECK_SAME_BITS(outs[tag].data(), want.data(), static_cast<long>(want.size()));
  }
}

}  // namespace
}  // namespace recstack

int main() {
  recstack::all_at_once();
  return recstack::test::finish();
}
