// A run's records: order, times, refusals, deadlines, failures, what is lost, and who is told.
#include "dispatch/scheduled_run.h"

#include <atomic>
#include <functional>
#include <stdexcept>
#include <thread>

#include "check.h"
#include "dispatch/completions.h"
#include "dispatch/fixed.h"

namespace recstack {
namespace {

constexpr int64_t kMs = 1'000'000;
constexpr uint8_t kLost = 99;

class CallExecutor final : public Executor {
 public:
  explicit CallExecutor(std::function<void(int64_t rows)> call) : call_(std::move(call)) {}
  Status run(const BatchView&, int64_t row_begin, int64_t row_end, float* out) override {
    for (int64_t row = row_begin; row < row_end; ++row) out[row - row_begin] = 1.0f;
    call_(row_end - row_begin);
    return {};
  }

 private:
  std::function<void(int64_t)> call_;
};

// A dispatcher, and runs of queries of 1 to 4 rows on it.
struct Bench {
  Bench(int lanes, DispatcherOptions options, std::function<void(int64_t)> call) {
    LaneOptions lane{[call] { return std::make_unique<CallExecutor>(call); }, {}};
    dispatcher = std::make_unique<Dispatcher>(
        std::vector<LaneOptions>(lanes, lane), InputLayout{},
        std::make_shared<FixedPolicy>(FixedOptions{.chunk_rows = 2}), options, &completions);
  }
  ~Bench() { dispatcher->shutdown(false); }

  Completions completions;
  std::unique_ptr<Dispatcher> dispatcher;
};

struct Run {
  Run(int64_t queries, int64_t gap_ns, int64_t drain_ns, int64_t deadline_ns = kNever)
      : scheduled_ns(queries),
        issued_ns(queries, -1),
        finished_ns(queries, -1),
        stages_ns(queries * kStages, -1),
        which(queries),
        status(queries, kLost) {
    RunPlan plan{.queries = queries,
                 .scheduled_ns = scheduled_ns.data(),
                 .which = which.data(),
                 .batches = {},
                 .outputs = 1,
                 .deadline_ns = deadline_ns,
                 .drain_ns = drain_ns,
                 .spin_ns = 20'000};
    for (int64_t i = 0; i < queries; ++i) {
      scheduled_ns[i] = i * gap_ns;
      which[i] = static_cast<int32_t>(i % 4);
    }
    for (int32_t rows = 1; rows <= 4; ++rows) {
      BatchView view;
      view.queries = 1;
      view.rows = rows;
      view.query_offsets = offsets[rows - 1];
      plan.batches.push_back(view);
    }
    run = std::make_unique<ScheduledRun>(
        std::move(plan),
        RunRecord{issued_ns.data(), finished_ns.data(), status.data(), stages_ns.data()});
  }

  void go(Bench* bench) {
    start_ns = now_ns() + kMs;
    run->run(bench->dispatcher.get(), start_ns);
  }
  int64_t count(uint8_t code) const { return std::count(status.begin(), status.end(), code); }
  int64_t count(Outcome outcome) const { return count(static_cast<uint8_t>(outcome)); }

  static constexpr int32_t offsets[4][2] = {{0, 1}, {0, 2}, {0, 3}, {0, 4}};
  std::vector<int64_t> scheduled_ns, issued_ns, finished_ns, stages_ns;
  std::vector<int32_t> which;
  std::vector<uint8_t> status;
  std::unique_ptr<ScheduledRun> run;
  int64_t start_ns = 0;
};

void all_are_issued_and_recorded() {
  for (const int64_t gap_ns : {int64_t{0}, kMs / 20}) {
    std::atomic<int64_t> rows = 0;
    Bench bench(2, {.queue_queries = 4000}, [&](int64_t n) { rows += n; });
    Run run(2000, gap_ns, 30'000 * kMs);
    run.go(&bench);
    CHECK_EQ(run.count(Outcome::ok), 2000);
    CHECK_EQ(rows.load(), 500 * 10);
    CHECK(run.run->idle());
    for (int64_t i = 0; i < 2000; ++i) {
      CHECK(run.issued_ns[i] >= run.start_ns + run.scheduled_ns[i]);
      CHECK(run.finished_ns[i] >= run.issued_ns[i]);
      CHECK(run.stages_ns[i * kStages + 4] <= run.finished_ns[i] - run.issued_ns[i]);
    }
    std::vector<Finished> others;
    bench.completions.drain(&others);
    CHECK(others.empty());
  }
}

// A lane that does not come back until `go`: lost queries are the run's until it does.
void a_full_queue_refuses_and_the_rest_is_lost() {
  std::atomic<bool> go = false;
  Bench bench(1, {.queue_queries = 3}, [&](int64_t) { go.wait(false); });
  Run run(10, 0, 5 * kMs);
  run.go(&bench);
  CHECK_EQ(run.count(Outcome::queue_full), 10 - run.count(kLost));
  CHECK(run.count(kLost) >= 3);
  CHECK(!run.run->idle());
  const std::vector<uint8_t> before = run.status;
  go = true;
  go.notify_all();
  bench.dispatcher->shutdown(true);
  CHECK(run.run->idle());
  CHECK(run.status == before);
  CHECK_EQ(run.finished_ns[0], -1);
}

void deadlines_count_from_the_scheduled_time() {
  Bench bench(1, {}, [](int64_t) { std::this_thread::sleep_for(std::chrono::milliseconds(60)); });
  Run run(8, 0, 30'000 * kMs, 40 * kMs);
  run.go(&bench);
  CHECK_EQ(run.count(Outcome::ok) + run.count(Outcome::deadline), 8);
  CHECK(run.count(Outcome::deadline) >= 6);
}

void equal_failures_are_noted_once() {
  Bench bench(2, {}, [](int64_t) { throw std::runtime_error("out of luck"); });
  Run run(20, 0, 30'000 * kMs);
  run.go(&bench);
  CHECK_EQ(run.count(Outcome::error), 20);
  CHECK_EQ(run.run->failures().size(), size_t{1});
  CHECK(run.run->failures()[0].text.find("out of luck") != std::string::npos);
}

void a_run_can_be_stopped() {
  Bench bench(1, {}, [](int64_t) {});
  Run run(3, 3600 * 1000 * kMs, 0);
  std::thread stopping([&] { run.run->stop(); });
  run.go(&bench);
  stopping.join();
  CHECK_EQ(run.count(kLost) + run.count(Outcome::ok), 3);
  CHECK(run.count(kLost) >= 2);
}

void two_runs_share_a_dispatcher() {
  Bench bench(2, {.queue_queries = 4000}, [](int64_t) {});
  Run first(500, kMs / 50, 30'000 * kMs), second(500, kMs / 50, 30'000 * kMs);
  std::thread other([&] { second.go(&bench); });
  first.go(&bench);
  other.join();
  CHECK_EQ(first.count(Outcome::ok), 500);
  CHECK_EQ(second.count(Outcome::ok), 500);
}

}  // namespace
}  // namespace recstack

int main() {
  recstack::all_are_issued_and_recorded();
  recstack::a_full_queue_refuses_and_the_rest_is_lost();
  recstack::deadlines_count_from_the_scheduled_time();
  recstack::equal_failures_are_noted_once();
  recstack::a_run_can_be_stopped();
  recstack::two_runs_share_a_dispatcher();
  return recstack::test::finish();
}
