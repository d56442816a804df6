// The live dispatcher with an executor of its own: split, merge, deadlines, limits, errors, ends.
#include "dispatch/dispatcher.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <future>
#include <map>
#include <numeric>
#include <stdexcept>
#include <thread>
#include <unordered_map>
#include <utility>

#include "check.h"
#include "dispatch/completions.h"
#include "dispatch/fixed.h"
#include "dispatch/slack.h"
#include "dispatch_queries.h"

namespace recstack {
namespace {

using test::check_scores;
using test::kLimit;
using test::mixed_layout;
using test::one_user;
using test::Query;
using test::SumExecutor;

// Opens once; runs stand before it until then.
class Gate {
 public:
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void pass() {
    std::unique_lock lock(mutex_);
    standing_ += 1;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
  }
  void await_standing(int count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return standing_ >= count; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
  int standing_ = 0;
};

class GatedExecutor final : public SumExecutor {
 public:
  GatedExecutor(const InputLayout& layout, Gate* gate) : SumExecutor(layout), gate_(gate) {}
  Status run(const BatchView& batch, int64_t row_begin, int64_t row_end, float* out) override {
    gate_->pass();
    return SumExecutor::run(batch, row_begin, row_end, out);
  }

 private:
  Gate* gate_;
};

class ThrowingExecutor final : public Executor {
 public:
  Status run(const BatchView&, int64_t, int64_t, float*) override {
    throw std::runtime_error("out of luck");
  }
};

class Collector final : public Sink {
 public:
  void finished(std::span<Finished> queries) override {
    const std::lock_guard lock(mutex_);
    for (Finished& query : queries) {
      CHECK(ended_.contains(query.tag) == query.told);
      held_ += query.held - query.told;
      if (!query.told) ended_.emplace(query.tag, std::move(query));
    }
    changed_.notify_all();
  }
  void await(size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return ended_.size() >= count; });
  }
  // That no chunk runs of what has ended.
  void await_released() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return held_ == 0; });
  }
  Finished of(uint64_t tag) {
    const std::lock_guard lock(mutex_);
    return ended_.at(tag);
  }
  size_t count() {
    const std::lock_guard lock(mutex_);
    return ended_.size();
  }
  bool ended_well(uint64_t tag) {
    const std::lock_guard lock(mutex_);
    const auto ended = ended_.find(tag);
    return ended != ended_.end() && ended->second.outcome == Outcome::ok;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::unordered_map<uint64_t, Finished> ended_;
  int held_ = 0;
};

// A dispatcher whose executors stand before `gate` until it opens.
struct Bench {
  Bench(const InputLayout& layout, const FixedOptions& policy, int lanes,
        DispatcherOptions options = {}, std::vector<int> cores = {})
      : Bench(layout, std::shared_ptr<const Policy>(std::make_shared<FixedPolicy>(policy)), lanes,
              options, cores) {}
  Bench(const InputLayout& layout, const std::shared_ptr<const Policy>& policy, int lanes,
        const DispatcherOptions& options, const std::vector<int>& cores) {
    std::vector<LaneOptions> made(lanes);
    for (LaneOptions& lane : made) {
      lane.make_executor = [this, layout] {
        return std::make_unique<GatedExecutor>(layout, &gate);
      };
      lane.cores = cores;
    }
    dispatcher = std::make_unique<Dispatcher>(made, layout, policy, options, &sink);
  }

  Outcome submit(uint64_t tag, Query& query, int64_t deadline_ns = kNever) {
    return dispatcher->submit(
        {.tag = tag, .batch = query.view, .out = query.out.data(), .deadline_ns = deadline_ns});
  }

  Gate gate;
  Collector sink;
  std::unique_ptr<Dispatcher> dispatcher;
};

void split_scores_equal_a_plain_run() {
  for (const int64_t chunk_rows : {1, 3, 7, 64}) {
    const InputLayout layout = mixed_layout(true);
    Bench bench(layout, {.chunk_rows = chunk_rows}, 3);
    bench.gate.open();
    Query query(layout, {0, 10, 10, 29}, false, 1);  // three users, one without rows
    CHECK(bench.submit(4, query) == Outcome::ok);
    bench.sink.await(1);
    CHECK(bench.sink.of(4).outcome == Outcome::ok);
    check_scores(query);
    const Counters counters = bench.dispatcher->counters();
    CHECK_EQ(counters.batches, (29 + chunk_rows - 1) / chunk_rows);
    CHECK_EQ(counters.rows, 29);
    CHECK_EQ(counters.split_queries, chunk_rows < 29);
  }
}

void merged_scores_equal_plain_runs() {
  for (const bool weighted : {false, true}) {
    const InputLayout layout = mixed_layout(weighted);
    Bench bench(layout, {.chunk_rows = 50, .merge_rows = 1000}, 1);
    Query first(layout, one_user(1), false, 2);
    CHECK(bench.submit(99, first) == Outcome::ok);
    bench.gate.await_standing(1);
    std::vector<Query> queries;
    for (int32_t i = 0; i < 12; ++i) {
      const auto offsets = i == 5 ? std::vector<int32_t>{0, 3, 3, 8} : one_user(1 + i * 2 % 9);
      queries.emplace_back(layout, offsets, i % 4 == 3, 10 + i);
    }
    for (size_t i = 0; i < queries.size(); ++i) CHECK(bench.submit(i, queries[i]) == Outcome::ok);
    bench.gate.open();
    bench.sink.await(queries.size() + 1);
    for (const Query& query : queries) check_scores(query);
    check_scores(first);
    const Counters counters = bench.dispatcher->counters();
    CHECK_EQ(counters.batches, 3);  // the first, nine with int32 indices, three with int64
    CHECK_EQ(counters.merged_batches, 2);
    CHECK_EQ(counters.completed, 13);
    CHECK_EQ(bench.dispatcher->batch_rows().count(), 3);
    const Finished last = bench.sink.of(11);
    CHECK_EQ(std::accumulate(last.stages_ns.begin(), last.stages_ns.end() - 1, int64_t{0}),
             last.stages_ns[static_cast<int>(Stage::total)]);
    CHECK(*std::min_element(last.stages_ns.begin(), last.stages_ns.end()) >= 0);
    CHECK_EQ(bench.dispatcher->stage(Stage::total).count(), 13);
  }
}

void one_bad_query_fails_alone() {
  const InputLayout layout = mixed_layout(false);
  Bench bench(layout, {.chunk_rows = 8, .merge_rows = 1000}, 1);
  Query first(layout, one_user(1), false, 2), good(layout, one_user(4), false, 3),
      bad(layout, one_user(5), false, 4), other(layout, one_user(6), false, 5),
      large(layout, one_user(40), false, 6);
  bad.break_value(static_cast<int64_t>(bad.narrow.size()) - 1);  // last row of feature 2
  large.break_value(0);
  bench.submit(0, first);
  bench.gate.await_standing(1);
  bench.submit(1, good);
  bench.submit(2, bad);
  bench.submit(3, other);
  bench.submit(4, large);
  bench.gate.open();
  bench.sink.await(5);
  check_scores(good);
  check_scores(other);
  CHECK(bench.sink.of(1).outcome == Outcome::ok && bench.sink.of(3).outcome == Outcome::ok);
  const Finished failed = bench.sink.of(2);
  CHECK(failed.outcome == Outcome::error);
  CHECK(failed.status.code == Status::Code::index_out_of_range);
  CHECK_EQ(failed.status.feature, 2);
  CHECK_EQ(failed.status.entry, 4);  // in the query's own numbering
  CHECK_EQ(failed.status.value, kLimit + 5);
  CHECK(bench.sink.of(4).outcome == Outcome::error);
  CHECK_EQ(bench.dispatcher->counters().failed, 2);
  CHECK(bench.dispatcher->counters().batches <= 7);  // the large one's other chunks were dropped
}

void a_throwing_executor_fails_its_query() {
  const InputLayout layout = mixed_layout(false);
  Collector sink;
  std::vector<LaneOptions> lanes(1);
  lanes[0].make_executor = [] { return std::make_unique<ThrowingExecutor>(); };
  Dispatcher dispatcher(lanes, layout, std::make_shared<FixedPolicy>(FixedOptions{}), {}, &sink);
  Query query(layout, one_user(4), false, 3);
  dispatcher.submit({.tag = 1, .batch = query.view, .out = query.out.data()});
  sink.await(1);
  CHECK(sink.of(1).outcome == Outcome::error && sink.of(1).error == "out of luck");
}

void a_dead_device_loses_a_few_queries_and_no_more() {
  const InputLayout layout = mixed_layout(false);
  Collector sink;
  std::vector<LaneOptions> lanes(2);
  lanes[0].make_executor = [&] { return std::make_unique<SumExecutor>(layout); };
  lanes[1] = {
      .make_executor = [] { return std::make_unique<ThrowingExecutor>(); }, .cores = {}, .kind = 1};
  const FixedOptions options{.chunk_rows = 8, .accelerator_rows = 10};
  Dispatcher dispatcher(lanes, layout, std::make_shared<FixedPolicy>(options), {}, &sink);
  Query query(layout, one_user(20), false, 3);
  constexpr uint64_t kQueries = 200;
  for (uint64_t tag = 0; tag < kQueries; ++tag) {
    dispatcher.submit({.tag = tag, .batch = query.view, .out = query.out.data()});
    sink.await(tag + 1);
  }
  const Counters counters = dispatcher.counters();
  // Three, and one more each time it was tried again, after 100, 200, 400, ... ms.
  CHECK(counters.lane_outages >= 1 && counters.failed == counters.lane_outages + 2);
  CHECK_EQ(counters.completed + counters.failed, static_cast<int64_t>(kQueries));
  CHECK(counters.failed < 10);
  check_scores(query);
}

void bad_queries_take_no_lane_out() {
  const InputLayout layout = mixed_layout(false);
  Bench bench(layout, {.chunk_rows = 8}, 2);
  bench.gate.open();
  Query bad(layout, one_user(5), false, 4);
  bad.break_value(0);
  for (uint64_t tag = 0; tag < 20; ++tag) {
    bench.submit(tag, bad);
    bench.sink.await(tag + 1);
  }
  CHECK_EQ(bench.dispatcher->counters().failed, 20);
  CHECK_EQ(bench.dispatcher->counters().lane_outages, 0);
}

void an_executor_that_cannot_be_made_is_an_error() {
  Collector sink;
  std::vector<LaneOptions> lanes(2);
  const InputLayout layout = mixed_layout(false);
  lanes[0].make_executor = [layout] { return std::make_unique<SumExecutor>(layout); };
  lanes[1].make_executor = []() -> std::unique_ptr<Executor> { throw std::bad_alloc(); };
  bool thrown = false;
  try {
    Dispatcher(lanes, layout, std::make_shared<FixedPolicy>(FixedOptions{}), {}, &sink);
  } catch (const std::bad_alloc&) {
    thrown = true;
  }
  CHECK(thrown);
}

void late_queries_are_refused() {
  const InputLayout layout = mixed_layout(false);
  Bench bench(layout, {.chunk_rows = 4}, 1);
  Query first(layout, one_user(1), false, 2), late(layout, one_user(4), false, 3),
      in_time(layout, one_user(4), false, 4), begun(layout, one_user(12), false, 5);
  CHECK(bench.submit(0, begun, now_ns() + 20'000'000) == Outcome::ok);
  bench.gate.await_standing(1);
  CHECK(bench.submit(1, late, now_ns() - 1) == Outcome::deadline);
  CHECK(bench.submit(2, late, now_ns() + 1'000'000) == Outcome::ok);
  CHECK(bench.submit(3, in_time, now_ns() + 3'600'000'000'000) == Outcome::ok);
  std::this_thread::sleep_for(std::chrono::milliseconds(25));
  bench.gate.open();
  bench.sink.await(3);
  CHECK(bench.sink.of(0).outcome == Outcome::deadline);  // its first chunk had begun
  CHECK(bench.sink.of(2).outcome == Outcome::deadline);
  CHECK(bench.sink.of(3).outcome == Outcome::ok);
  CHECK_EQ(bench.dispatcher->counters().deadline, 3);
  CHECK_EQ(late.out[0], -1.0f);
  check_scores(in_time);
}

void nobody_waits_past_the_deadline_for_a_refusal() {
  const InputLayout layout = mixed_layout(false);
  // Microseconds by the curve; in truth the lane stands until the test has heard of all refusals.
  const CostCurve quick({.busy = {1}, .service_ns = {1e3, 2e3, 4e3, 12e3}, .query_ns = 0});
  const std::shared_ptr<const Policy> policies[] = {
      std::make_shared<FixedPolicy>(FixedOptions{.chunk_rows = 4}),
      std::make_shared<SlackPolicy>(SlackOptions{.shed = Shed::latest})};
  for (const auto& policy : policies) {
    Bench bench(layout, policy, 1, {.costs = {quick}}, {});
    Query begun(layout, one_user(12), false, 1), waits(layout, one_user(4), false, 2);
    const int64_t deadline_ns = now_ns() + 20'000'000;
    CHECK(bench.submit(0, begun, deadline_ns) == Outcome::ok);
    bench.gate.await_standing(1);
    CHECK(bench.submit(1, waits, deadline_ns) == Outcome::ok);
    bench.sink.await(2);
    for (const uint64_t tag : {0, 1}) {
      CHECK(bench.sink.of(tag).outcome == Outcome::deadline);
      CHECK(bench.sink.of(tag).held == (tag == 0));
      CHECK(bench.sink.of(tag).finish_ns < deadline_ns + 100'000'000);  // of a busy machine
    }
    bench.gate.open();
    bench.sink.await_released();
    CHECK_EQ(bench.dispatcher->counters().deadline, 2);
    Query after(layout, one_user(4), false, 3);
    CHECK(bench.submit(2, after) == Outcome::ok);
    bench.sink.await(3);
    check_scores(after);
  }
}

void a_full_queue_refuses() {
  const InputLayout layout = mixed_layout(false);
  Bench bench(layout, {.chunk_rows = 100}, 1, {.queue_queries = 3, .queue_rows = 40});
  Query running(layout, one_user(4), false, 1), ten(layout, one_user(10), false, 2),
      thirty(layout, one_user(30), false, 3), huge(layout, one_user(90), false, 4),
      empty(layout, one_user(0), false, 5);
  CHECK(bench.submit(0, running) == Outcome::ok);
  bench.gate.await_standing(1);
  CHECK(bench.submit(1, ten) == Outcome::ok);
  CHECK(bench.submit(2, thirty) == Outcome::ok);
  CHECK(bench.submit(3, ten) == Outcome::queue_full);  // rows
  CHECK(bench.submit(4, empty) == Outcome::ok);        // no rows: done at once
  CHECK(bench.sink.of(4).outcome == Outcome::ok);
  CHECK_EQ(bench.dispatcher->counters().waiting_rows, 40);
  bench.gate.open();
  bench.sink.await(4);
  CHECK_EQ(bench.dispatcher->counters().queue_full, 1);
  CHECK_EQ(bench.dispatcher->counters().waiting_queries, 0);
  CHECK(bench.submit(5, huge) == Outcome::ok);
  bench.sink.await(5);
  check_scores(huge);

  Bench small(layout, {}, 1, {.queue_queries = 1});
  small.submit(0, running);
  small.gate.await_standing(1);
  CHECK(small.submit(1, ten) == Outcome::ok);
  CHECK(small.submit(2, thirty) == Outcome::queue_full);  // queries
  small.gate.open();
  small.sink.await(2);
}

void shutdown_ends_or_drains_what_waits() {
  const InputLayout layout = mixed_layout(false);
  for (const bool drain : {false, true}) {
    Bench bench(layout, {.chunk_rows = 8, .merge_rows = 8}, 2);
    std::vector<Query> queries;
    for (int i = 0; i < 20; ++i) queries.emplace_back(layout, one_user(1 + i), false, i);
    for (size_t i = 0; i < queries.size(); ++i) bench.submit(i, queries[i]);
    bench.gate.await_standing(2);
    std::thread closer([&] { bench.dispatcher->shutdown(drain); });
    Query probe(layout, one_user(1), false, 77);
    while (bench.submit(100, probe, now_ns()) == Outcome::deadline) std::this_thread::yield();
    bench.gate.open();
    bench.dispatcher->shutdown(drain);
    closer.join();
    CHECK_EQ(bench.sink.count(), queries.size());
    size_t ok = 0;
    for (size_t i = 0; i < queries.size(); ++i) {
      const Outcome outcome = bench.sink.of(i).outcome;
      CHECK(outcome == Outcome::ok || (!drain && outcome == Outcome::shutting_down));
      if (outcome == Outcome::ok) check_scores(queries[i]);
      ok += outcome == Outcome::ok;
    }
    CHECK(drain ? ok == queries.size() : ok == 2);
  }
}

void a_merge_window_ends_by_itself() {
  const InputLayout layout = mixed_layout(false);
  Bench bench(layout, {.chunk_rows = 8, .merge_rows = 100, .merge_window_ns = 3'000'000}, 2);
  bench.gate.open();
  Query one(layout, one_user(2), false, 1), two(layout, one_user(3), false, 2);
  bench.submit(1, one);
  bench.submit(2, two);
  bench.sink.await(2);
  check_scores(one);
  check_scores(two);
}

void many_threads_submit_at_once() {
  const FixedOptions fixed{.chunk_rows = 12, .merge_rows = 24, .order = Order::deadline};
  const std::pair<std::shared_ptr<const Policy>, int64_t> variants[] = {
      {std::make_shared<FixedPolicy>(fixed), 0},
      {std::make_shared<FixedPolicy>(fixed), 20'000},
      {std::make_shared<SlackPolicy>(SlackOptions{}), 0}};
  const CostCurve curve({.busy = {1}, .service_ns = {5e3, 6e3, 8e3, 12e3, 2e4, 4e4}});
  for (const auto& [policy, spin_ns] : variants) {
    const InputLayout layout = mixed_layout(true);
    std::vector<Query> kinds;
    for (int32_t i = 0; i < 40; ++i) kinds.emplace_back(layout, one_user(1 + i), i % 2 == 0, i);
    Bench bench(layout, policy, 3, {.queue_queries = 64, .spin_ns = spin_ns, .costs = {curve}},
                {0});
    bench.gate.open();
    constexpr int kThreads = 4, kEach = 1500;
    std::vector<std::vector<float>> outs(kThreads * kEach);
    std::atomic<int64_t> accepted = 0, refused = 0;
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < kEach; ++i) {
          const int tag = t * kEach + i;
          const Query& query = kinds[tag % kinds.size()];
          outs[tag].assign(query.want.size(), -1.0f);
          const int64_t deadline_ns =
              i % 3 ? kNever : now_ns() + int64_t{1'000'000'000} * (1 + i % 5);
          const Outcome outcome = bench.dispatcher->submit({.tag = static_cast<uint64_t>(tag),
                                                            .batch = query.view,
                                                            .out = outs[tag].data(),
                                                            .deadline_ns = deadline_ns});
          (outcome == Outcome::ok ? accepted : refused) += 1;
          if (outcome == Outcome::queue_full) std::this_thread::yield();
          if (i % 100 == 0) bench.dispatcher->stage(Stage::total).percentile(0.5);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    bench.dispatcher->shutdown(true);
    CHECK_EQ(static_cast<int64_t>(bench.sink.count()), accepted.load());
    CHECK_EQ(accepted + refused, int64_t{kThreads * kEach});
    const Counters counters = bench.dispatcher->counters();
    CHECK_EQ(counters.accepted, accepted.load());
    CHECK_EQ(counters.completed + counters.deadline, accepted.load());
    CHECK_EQ(counters.busy_lanes, 0);
    CHECK(counters.completed > 100);
    for (int tag = 0; tag < kThreads * kEach; ++tag) {
      if (!bench.sink.ended_well(tag)) continue;
      const Query& query = kinds[tag % kinds.size()];
      CHECK_SAME_BITS(outs[tag].data(), query.want.data(), static_cast<long>(query.want.size()));
    }
  }
}

void a_policy_is_let_go_of_without_the_mutex() {
  const InputLayout layout = mixed_layout(false);
  std::unique_ptr<Bench> bench;
  std::promise<void> looked;
  std::thread looking;
  const auto look = [&](const Policy* policy) {  // as Python would: it waits for a lock of its own
    delete policy;
    looking = std::thread([&] {
      bench->dispatcher->counters();
      looked.set_value();
    });
    CHECK(looked.get_future().wait_for(std::chrono::seconds(10)) == std::future_status::ready);
  };
  bench = std::make_unique<Bench>(
      layout, std::shared_ptr<const Policy>(new FixedPolicy(FixedOptions{}), look), 1,
      DispatcherOptions{}, std::vector<int>{});
  bench->dispatcher->set_policy(std::make_shared<FixedPolicy>(FixedOptions{}));
  looking.join();
}

void a_policy_that_would_leave_queries_unserved_is_refused() {
  const InputLayout layout = mixed_layout(false);
  const FixedOptions apart{.accelerator_rows = 8};
  Bench bench(layout, apart, 1);
  Query large(layout, one_user(9), false, 1);
  CHECK(bench.submit(1, large) == Outcome::ok);
  bool refused = false;
  try {
    bench.dispatcher->set_policy(std::make_shared<FixedPolicy>(FixedOptions{}));
  } catch (const std::invalid_argument&) {
    refused = true;
  }
  CHECK(refused);
  bench.dispatcher->set_policy(std::make_shared<FixedPolicy>(apart));
  bench.gate.open();
  bench.sink.await(1);
  CHECK(bench.sink.of(1).outcome == Outcome::ok);  // on a core: there is no accelerator
}

void a_spinning_waiter_keeps_its_time() {
  Parker parker;
  const int64_t began_ns = now_ns();
  parker.wait(60'000'000'000, began_ns + 1'000'000);
  CHECK(now_ns() - began_ns < 30'000'000'000);
}

void cores_that_do_not_exist_are_reported() {
  const InputLayout layout = mixed_layout(false);
  Bench wrong(layout, FixedOptions{}, 2, {}, {4000});
  CHECK_EQ(wrong.dispatcher->pin_errors().size(), size_t{2});
  wrong.gate.open();
  Query query(layout, one_user(3), false, 1);
  wrong.submit(1, query);
  wrong.sink.await(1);
  check_scores(query);
}

void completions_are_drained_by_one_reader() {
  Completions completions;
  completions.wait(0);
  std::vector<std::thread> producers;
  for (uint64_t p = 0; p < 3; ++p) {
    producers.emplace_back([&completions, p] {
      for (uint64_t i = 0; i < 500; ++i) {
        std::vector<Finished> batch(2);
        batch[0].tag = p * 1000 + 2 * i;
        batch[1].tag = batch[0].tag + 1;
        completions.finished(batch);
      }
    });
  }
  std::map<uint64_t, int> seen;
  std::vector<Finished> drained;
  while (seen.size() < 3000) {
    completions.wait(-1);
    completions.drain(&drained);
    for (const Finished& query : drained) CHECK_EQ(++seen[query.tag], 1);
  }
  for (std::thread& producer : producers) producer.join();
  completions.wake();
  completions.wait(-1);
}

}  // namespace
}  // namespace recstack

int main() {
  recstack::split_scores_equal_a_plain_run();
  recstack::merged_scores_equal_plain_runs();
  recstack::one_bad_query_fails_alone();
  recstack::a_throwing_executor_fails_its_query();
  recstack::a_dead_device_loses_a_few_queries_and_no_more();
  recstack::bad_queries_take_no_lane_out();
  recstack::an_executor_that_cannot_be_made_is_an_error();
  recstack::late_queries_are_refused();
  recstack::nobody_waits_past_the_deadline_for_a_refusal();
  recstack::a_full_queue_refuses();
  recstack::shutdown_ends_or_drains_what_waits();
  recstack::a_merge_window_ends_by_itself();
  recstack::many_threads_submit_at_once();
  recstack::a_policy_is_let_go_of_without_the_mutex();
  recstack::a_policy_that_would_leave_queries_unserved_is_refused();
  recstack::a_spinning_waiter_keeps_its_time();
  recstack::cores_that_do_not_exist_are_reported();
  recstack::completions_are_drained_by_one_reader();
  return recstack::test::finish();
}
