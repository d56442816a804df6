// Histogram, orders, backlog and the fixed policy: all that runs without a thread.
#include <algorithm>
#include <random>
#include <utility>
#include <vector>

#include "check.h"
#include "dispatch/fixed.h"
#include "dispatch/histogram.h"

namespace recstack {
namespace {

void histogram_buckets_are_narrow_and_in_order() {
  for (int64_t b = 0; b < kBuckets; ++b) {
    const int64_t begin = bucket_begin(b);
    const int64_t last = bucket_begin(b + 1) - 1;
    CHECK_EQ(bucket_of(begin), b);
    CHECK_EQ(bucket_of(last), b);
    CHECK((last - begin) * 64 <= begin);
  }
  CHECK_EQ(bucket_of(-5), 0);
  CHECK_EQ(bucket_of(kNever), kBuckets - 1);
}

void histogram_percentiles_are_within_one_percent() {
  std::mt19937_64 random(7);
  std::lognormal_distribution<double> latency(13.0, 2.0);  // around 0.4 ms, tail to seconds
  Histogram one, two;
  std::vector<int64_t> values;
  int64_t sum = 0;
  for (int i = 0; i < 20000; ++i) {
    values.push_back(static_cast<int64_t>(latency(random)));
    (i % 3 ? one : two).record(values.back());
    sum += values.back();
  }
  HistogramSnapshot merged = one.snapshot();
  merged.merge(two.snapshot());
  std::sort(values.begin(), values.end());
  CHECK_EQ(merged.count(), static_cast<int64_t>(values.size()));
  CHECK_EQ(merged.sum(), sum);
  CHECK_EQ(merged.max(), values.back());
  for (const double share : {0.0001, 0.01, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0}) {
    const auto rank = static_cast<size_t>(std::ceil(share * 20000 - 1e-9));
    const auto want = static_cast<double>(values[rank - 1]);
    CHECK_NEAR(static_cast<double>(merged.percentile(share)), want, 0.01 * want);
  }
  CHECK_EQ(merged.at_most(kNever), merged.count());
  const auto below = std::upper_bound(values.begin(), values.end(), values[10000]);
  CHECK_NEAR(static_cast<double>(merged.at_most(values[10000])),
             static_cast<double>(below - values.begin()), 200.0);
  CHECK_EQ(Histogram().snapshot().percentile(0.5), 0);
}

void a_window_of_a_histogram_knows_nothing_of_what_was_before() {
  Histogram histogram;
  histogram.record(1'000'000);
  const HistogramSnapshot earlier = histogram.snapshot();
  for (int i = 0; i < 10; ++i) histogram.record(100);
  HistogramSnapshot window = histogram.snapshot();
  window.subtract(earlier);
  CHECK_EQ(window.count(), 10);
  CHECK_NEAR(static_cast<double>(window.percentile(0.95)), 100, 1);  // the rank of its maximum
  CHECK_NEAR(static_cast<double>(window.max()), 100, 2);
  HistogramSnapshot nothing;
  nothing.subtract(earlier);
  CHECK_EQ(nothing.percentile(1.0), 0);
}

void an_order_is_that_of_a_sorted_list() {
  constexpr int32_t kSlots = 200;
  std::mt19937 random(3);
  SlotOrder order(kSlots);
  std::vector<std::pair<int64_t, int32_t>> sorted;  // key, slot; equal keys as they came
  std::vector<int32_t> out(kSlots);
  for (int32_t s = 0; s < kSlots; ++s) out[s] = s;
  for (int step = 0; step < 20000; ++step) {
    const bool grow = sorted.empty() || (!out.empty() && random() % 2 == 0);
    if (grow) {
      const size_t which = random() % out.size();
      const int32_t slot = out[which];
      const int64_t key = random() % 50;
      out.erase(out.begin() + static_cast<int64_t>(which));
      order.insert(slot, key);
      const auto after = std::find_if(sorted.begin(), sorted.end(),
                                      [key](const auto& other) { return other.first > key; });
      sorted.insert(after, {key, slot});
    } else {
      const size_t which = random() % sorted.size();
      order.erase(sorted[which].second);
      out.push_back(sorted[which].second);
      sorted.erase(sorted.begin() + static_cast<int64_t>(which));
    }
    if (step % 97 != 0) continue;
    int32_t slot = order.first();
    for (const auto& [key, want] : sorted) {
      CHECK_EQ(slot, want);
      slot = order.next(slot);
    }
    CHECK_EQ(slot, -1);
    CHECK_EQ(order.last(), sorted.empty() ? -1 : sorted.back().second);
  }
}

void backlog_keeps_its_orders() {
  Backlog backlog(8);
  const int64_t due[] = {30, 10, 50, 10, 20};
  for (int32_t s = 0; s < 5; ++s) {
    const int64_t latest_ns = s == 2 ? kNever : 100 - s;
    backlog.push(s, {.rows = 4 + s, .due_ns = due[s], .latest_start_ns = latest_ns, .work_ns = 7});
  }
  CHECK_EQ(backlog.rows(), 30);
  CHECK_EQ(backlog.work_ns(), 35);
  CHECK_EQ(backlog.most_urgent(), 4);
  CHECK_EQ(backlog.largest(), 4);
  Waiting begun = backlog[4];
  begun.next_row = 5;
  begun.latest_start_ns = 200;
  begun.work_ns = 3;
  backlog.update(4, begun);
  CHECK_EQ(backlog.rows(), 25);
  CHECK_EQ(backlog.work_ns(), 31);
  CHECK_EQ(backlog.most_urgent(), 3);
  CHECK_EQ(backlog.largest(), 3);  // 4 has begun, 2 has no deadline
  std::vector<int32_t> walked;
  for (int32_t s = backlog.first(); s >= 0; s = backlog.next(s)) walked.push_back(s);
  CHECK((walked == std::vector<int32_t>{1, 3, 4, 0, 2}));
  CHECK_EQ(backlog.last(), 2);
  for (const int32_t slot : walked) backlog.remove(slot);
  CHECK(backlog.empty() && backlog.first() == -1 && backlog.rows() == 0);
  CHECK(backlog.work_ns() == 0 && backlog.most_urgent() == -1 && backlog.largest() == -1);
}

void lines_of_a_backlog_are_apart() {
  Backlog backlog(8);
  for (int32_t s = 0; s < 6; ++s) {
    backlog.push(s, {.rows = 10 + s, .line = s % 2, .due_ns = 100 - s});
  }
  CHECK_EQ(backlog.queries(), 6);
  CHECK_EQ(backlog.rows(), 75);
  CHECK_EQ(backlog.queries(1), 3);
  CHECK_EQ(backlog.rows(0), 36);
  CHECK_EQ(backlog.rows(1), 39);
  std::vector<int32_t> walked;
  for (int32_t s = backlog.first(1); s >= 0; s = backlog.next(s)) walked.push_back(s);
  CHECK((walked == std::vector<int32_t>{5, 3, 1}));
  for (const int32_t slot : walked) backlog.remove(slot);
  CHECK_EQ(backlog.first(1), -1);
  CHECK_EQ(backlog.rows(1), 0);
  CHECK_EQ(backlog.first(), 4);
  CHECK(!backlog.empty());
}

// A board as a caller of the policy keeps it; lanes stay idle unless a test says otherwise.
struct World {
  explicit World(const FixedOptions& options, int lanes = 1)
      : policy(options), backlog(512), lane_states(lanes) {
    for (int lane = lanes - 1; lane >= 0; --lane) idle.push_back(lane);
  }

  void push(int32_t slot, Waiting query) {
    policy.place({}, lane_states, &query);
    backlog.push(slot, query);
  }

  Decision::Kind decide(int64_t now_ns) {
    policy.decide({backlog, lane_states, idle, {}, pace}, now_ns, &decision);
    if (decision.kind == Decision::Kind::run) {
      for (const Piece& piece : decision.pieces) {
        Waiting query = backlog[piece.slot];
        query.next_row = piece.row_end;
        if (query.left() == 0) {
          backlog.remove(piece.slot);
        } else {
          backlog.update(piece.slot, query);
        }
      }
    } else if (decision.kind == Decision::Kind::refuse) {
      backlog.remove(decision.refused);
    }
    return decision.kind;
  }

  std::vector<int64_t> slots() const {
    std::vector<int64_t> out;
    for (const Piece& piece : decision.pieces) out.push_back(piece.slot);
    return out;
  }

  FixedPolicy policy;
  Backlog backlog;
  std::vector<LaneState> lane_states;
  std::vector<int32_t> idle;
  Pace pace;
  Decision decision;
};

void a_large_query_is_cut_in_nearly_equal_chunks() {
  for (int64_t chunk_rows = 1; chunk_rows < 40; ++chunk_rows) {
    for (int64_t rows = 1; rows < 130; ++rows) {
      World world({.chunk_rows = chunk_rows});
      world.push(0, {.rows = rows});
      int64_t chunks = 0, next = 0, least = rows, most = 0;
      while (world.decide(0) == Decision::Kind::run) {
        const Piece& piece = world.decision.pieces.at(0);
        CHECK_EQ(piece.row_begin, next);
        next = piece.row_end;
        least = std::min(least, piece.row_end - piece.row_begin);
        most = std::max(most, piece.row_end - piece.row_begin);
        chunks += 1;
      }
      test::context = std::to_string(rows) + " rows in chunks of " + std::to_string(chunk_rows);
      CHECK_EQ(next, rows);
      CHECK_EQ(chunks, (rows + chunk_rows - 1) / chunk_rows);
      CHECK(most <= chunk_rows && most - least <= 1);
    }
  }
}

void small_queries_merge_up_to_the_limit() {
  World world({.chunk_rows = 50, .merge_rows = 20});
  const int64_t rows[] = {8, 100, 7, 6, 5, 9};  // 100 is split, 6 does not fit behind 8 + 7
  for (int32_t s = 0; s < 6; ++s) world.push(s, {.rows = rows[s]});
  world.push(6, {.rows = 1, .merge_class = 1});
  CHECK(world.decide(0) == Decision::Kind::run);
  CHECK((world.slots() == std::vector<int64_t>{0, 2, 4}));
  CHECK(world.decide(0) == Decision::Kind::run && world.decision.pieces[0].slot == 1);
  CHECK(world.decide(0) == Decision::Kind::run && world.decision.pieces[0].row_begin == 50);
  CHECK(world.decide(0) == Decision::Kind::run);
  CHECK((world.slots() == std::vector<int64_t>{3, 5}));
  CHECK(world.decide(0) == Decision::Kind::run);
  CHECK((world.slots() == std::vector<int64_t>{6}));
  CHECK(world.decide(0) == Decision::Kind::none);
}

void a_batch_has_a_bounded_number_of_queries() {
  World world({.chunk_rows = 50, .merge_rows = 500});
  for (int32_t s = 0; s < 100; ++s) world.push(s, {.rows = 1});
  CHECK(world.decide(0) == Decision::Kind::run);
  CHECK_EQ(static_cast<int>(world.decision.pieces.size()), kMaxPieces);
}

void idle_lanes_share_what_waits() {
  World world({.chunk_rows = 50, .merge_rows = 50}, 2);
  for (int32_t s = 0; s < 4; ++s) world.push(s, {.rows = 5});
  CHECK(world.decide(0) == Decision::Kind::run);
  CHECK_EQ(static_cast<int>(world.slots().size()), 2);
}

void a_begun_query_goes_on_where_it_was_under_another_policy() {
  World world({.chunk_rows = 50});
  world.push(0, {.rows = 100});
  world.push(1, {.rows = 10});
  CHECK(world.decide(0) == Decision::Kind::run && world.decision.pieces[0].row_end == 50);
  world.policy = FixedPolicy({.chunk_rows = 256, .merge_rows = 256});
  CHECK(world.decide(0) == Decision::Kind::run);
  CHECK_EQ(world.decision.pieces.size(), size_t{1});
  CHECK_EQ(world.decision.pieces[0].row_begin, 50);
  CHECK_EQ(world.decision.pieces[0].row_end, 100);

  World behind({.chunk_rows = 50, .order = Order::deadline});
  behind.push(0, {.rows = 100, .deadline_ns = 900});
  CHECK(behind.decide(0) == Decision::Kind::run && behind.backlog[0].next_row == 50);
  behind.policy = FixedPolicy({.chunk_rows = 256, .merge_rows = 256, .order = Order::deadline});
  behind.push(1, {.rows = 10, .deadline_ns = 800});
  CHECK(behind.decide(0) == Decision::Kind::run);  // alone: what is left of the other is no whole
  CHECK((behind.slots() == std::vector<int64_t>{1}));
}

void a_passed_deadline_is_refused() {
  World world({.chunk_rows = 4, .merge_rows = 8, .order = Order::deadline});
  world.push(0, {.rows = 9, .deadline_ns = 100});
  world.push(1, {.rows = 2, .deadline_ns = 50});
  world.push(2, {.rows = 2});
  CHECK(world.decide(50) == Decision::Kind::refuse && world.decision.refused == 1);
  CHECK(world.decide(50) == Decision::Kind::run && world.decision.pieces[0].slot == 0);
  CHECK(world.decide(100) == Decision::Kind::refuse && world.decision.refused == 0);
  CHECK(world.decide(100) == Decision::Kind::run && world.decision.pieces[0].slot == 2);

  World merging({.chunk_rows = 4, .merge_rows = 8});
  merging.push(0, {.rows = 2});
  merging.push(1, {.rows = 2, .deadline_ns = 10});
  merging.push(2, {.rows = 2});
  CHECK(merging.decide(10) == Decision::Kind::refuse && merging.decision.refused == 1);
  CHECK(merging.decide(10) == Decision::Kind::run);
  CHECK((merging.slots() == std::vector<int64_t>{0, 2}));
}

void a_deadline_is_kept_while_all_lanes_are_busy() {
  World world({.chunk_rows = 50});
  world.idle.clear();
  world.push(0, {.rows = 9, .deadline_ns = 300});
  world.push(1, {.rows = 9, .deadline_ns = 100});
  world.push(2, {.rows = 9});
  CHECK(world.decide(94) == Decision::Kind::wait);
  CHECK(world.decision.lane == -1 && world.decision.wake_ns == 100);
  CHECK(world.decide(100) == Decision::Kind::refuse && world.decision.refused == 1);
  CHECK(world.decide(100) == Decision::Kind::wait && world.decision.wake_ns == 300);
}

void a_pace_is_the_line_through_what_was_seen() {
  Pace pace;
  CHECK_EQ(pace.batch_ns(100), 0);
  for (int i = 0; i < 3; ++i) pace.observe(10, 5000);
  CHECK(pace.batch_ns(10) == 5000 && pace.batch_ns(1000) == 5000);
  for (int i = 0; i < 200; ++i) pace.observe(1 + i % 50, 2000 + 100 * (1 + i % 50));
  for (const int64_t rows : {1, 25, 200}) {
    CHECK_NEAR(static_cast<double>(pace.batch_ns(rows)), 2000.0 + 100.0 * rows, 50.0);
  }
  const int64_t before_ns = pace.batch_ns(25);
  pace.observe(25, 1'000'000'000);  // preempted
  CHECK(pace.batch_ns(25) < before_ns + before_ns / 4);
  for (int i = 0; i < 200; ++i) pace.observe(25, 50'000);
  CHECK_NEAR(static_cast<double>(pace.batch_ns(25)), 50'000, 500);
}

void what_the_pace_foretells_to_be_late_is_refused() {
  World world({.chunk_rows = 50}, 2);
  world.pace.observe(10, 1000);
  world.idle.clear();
  for (LaneState& lane : world.lane_states) lane = {.idle = false, .until_ns = 1000};
  int32_t slot = 0;
  for (; slot < 20; ++slot) {
    world.push(slot, {.rows = 10, .deadline_ns = 10'000});
    if (world.decide(0) == Decision::Kind::refuse) break;
  }
  // 500 of reserve, 1000 until both lanes are free, and then two at a time.
  CHECK(slot == 16 && world.decision.refused == slot);
  CHECK(world.decide(0) == Decision::Kind::wait);
  // A lane is late: its next query would end too late, the one after it is the head's turn.
  world.idle.push_back(0);
  world.lane_states[0] = {};
  CHECK(world.decide(8600) == Decision::Kind::refuse && world.decision.refused == 0);
  // Nothing else runs: a prediction that is never tried would never be corrected.
  world.idle.push_back(1);
  world.lane_states[1] = {};
  CHECK(world.decide(8600) == Decision::Kind::run);
}

void those_without_a_deadline_keep_nobody_from_being_refused() {
  World world({.chunk_rows = 50, .order = Order::deadline}, 2);
  world.pace.observe(10, 1000);
  world.idle.clear();
  for (LaneState& lane : world.lane_states) lane = {.idle = false, .until_ns = 1000};
  for (int32_t s = 100; s < 140; ++s) world.push(s, {.rows = 10});
  int32_t slot = 0;
  while (slot < 20) {
    world.push(slot, {.rows = 10, .deadline_ns = 10'000});
    if (world.decide(0) == Decision::Kind::refuse) break;
    slot += 1;
  }
  CHECK(slot == 16 && world.decision.refused == slot);  // as without the others
}

void a_window_waits_only_while_nothing_else_can_run() {
  const FixedOptions options{.chunk_rows = 50, .merge_rows = 10, .merge_window_ns = 1000};
  World world(options);
  world.push(0, {.rows = 4, .arrival_ns = 500});
  CHECK(world.decide(600) == Decision::Kind::wait);
  CHECK_EQ(world.decision.wake_ns, 1500);
  world.push(1, {.rows = 6, .arrival_ns = 700});
  CHECK(world.decide(700) == Decision::Kind::run);  // full
  world.push(0, {.rows = 4, .arrival_ns = 800});
  CHECK(world.decide(1800) == Decision::Kind::run);  // the window is over
  world.push(0, {.rows = 4, .arrival_ns = 2000, .deadline_ns = 3500});
  CHECK(world.decide(2000) == Decision::Kind::wait);
  CHECK_EQ(world.decision.wake_ns, 2500);
  world.push(1, {.rows = 100, .arrival_ns = 2000});
  CHECK(world.decide(2000) == Decision::Kind::run);  // the other query needs the lane

  World paced(options);
  paced.pace.observe(4, 1400);
  paced.push(0, {.rows = 4, .arrival_ns = 0, .deadline_ns = 2000});
  CHECK(paced.decide(0) == Decision::Kind::wait);
  CHECK_EQ(paced.decision.wake_ns, 500);  // it takes 1400, and 100 are kept
}

void large_queries_go_whole_to_accelerators() {
  World world({.chunk_rows = 10, .merge_rows = 4, .accelerator_rows = 30}, 3);
  world.lane_states[2].kind = 1;
  const int64_t rows[] = {100, 40, 29, 1, 2};
  for (int32_t s = 0; s < 5; ++s) world.push(s, {.rows = rows[s]});
  const auto ran = [&](int32_t slot, int64_t begin, int64_t end, int32_t lane) {
    CHECK(world.decide(0) == Decision::Kind::run);
    CHECK_EQ(world.decision.lane, lane);
    CHECK_EQ(world.decision.pieces[0].slot, slot);
    CHECK_EQ(world.decision.pieces[0].row_begin, begin);
    CHECK_EQ(world.decision.pieces[0].row_end, end);
    std::erase(world.idle, lane);
  };
  ran(0, 0, 100, 2);  // whole
  ran(2, 0, 10, 0);   // past the large one that waits for the accelerator
  ran(2, 10, 20, 1);
  CHECK(world.decide(0) == Decision::Kind::none);
  world.idle = {2};  // no lane for the first line
  ran(1, 0, 40, 2);
  world.idle = {2, 0};
  ran(2, 20, 29, 0);  // what is left stays in its line, though an accelerator is idle
  world.idle = {2, 1, 0};
  ran(3, 0, 1, 0);
  CHECK_EQ(static_cast<int>(world.decision.pieces.size()), 1);  // two idle lanes, two queries
  ran(4, 0, 2, 1);
  CHECK(world.backlog.empty());
}

void a_late_query_is_refused_though_its_kind_of_lane_is_busy() {
  World world({.chunk_rows = 10, .accelerator_rows = 30}, 2);
  world.lane_states[1].kind = 1;
  world.push(0, {.rows = 50, .deadline_ns = 5});
  world.push(1, {.rows = 3});
  world.idle = {0};
  CHECK(world.decide(9) == Decision::Kind::refuse && world.decision.refused == 0);
  CHECK(world.decide(9) == Decision::Kind::run && world.decision.pieces[0].slot == 1);
}

void without_a_threshold_all_lanes_are_alike() {
  World world({.chunk_rows = 10}, 2);
  world.lane_states[0].kind = 1;
  world.push(0, {.rows = 20});
  CHECK(world.decide(0) == Decision::Kind::run && world.decision.lane == 0);
  world.idle = {1};
  CHECK(world.decide(0) == Decision::Kind::run && world.decision.lane == 1);
}

// Two cores and a device, which fails.
struct Failing {
  // Starts what is decided; its lane.
  int32_t start(int64_t now_ns) {
    CHECK(board.decide(now_ns).kind == Decision::Kind::run);
    const int32_t lane = board.decide(now_ns).lane;
    piece = board.decide(now_ns).pieces[0];
    board.start(now_ns);
    return lane;
  }
  void fail_until_out(int64_t now_ns) {
    for (int i = 0; i < LaneHealth::kFailures; ++i) {
      CHECK_EQ(board.out(), 0);
      board.arrive(0, {.rows = 100});
      CHECK_EQ(start(now_ns), 2);
      board.end(2, now_ns, Ended::failed);
    }
    CHECK_EQ(board.out(), 1);
  }

  FixedPolicy policy{{.chunk_rows = 50, .accelerator_rows = 30}};
  Board board{&policy, {0, 0, 1}, {}, 64};
  Piece piece{};
};

void a_lane_that_keeps_failing_is_left_out_and_tried_again() {
  Failing world;
  world.fail_until_out(0);
  int64_t pause_ns = LaneHealth::kFirstPauseNs, now_ns = 0;
  for (int out = 1; out < 20; ++out) {
    CHECK(world.board.out() == 1 && world.board.outages() == out);
    world.board.arrive(0, {.rows = 100, .arrival_ns = now_ns});
    for (const int64_t begin : {0, 50}) {  // cut for the cores, up to the end of the pause
      const int32_t lane = world.start(now_ns + pause_ns - 1);
      CHECK(lane != 2 && world.piece.row_begin == begin && world.piece.row_end == begin + 50);
      world.board.end(lane, now_ns + pause_ns - 1);
    }
    now_ns += pause_ns;
    pause_ns = std::min(2 * pause_ns, LaneHealth::kLongestPauseNs);
    world.board.arrive(0, {.rows = 100, .arrival_ns = now_ns});
    CHECK_EQ(world.start(now_ns), 2);  // one query tries it
    world.board.end(2, now_ns, Ended::failed);
  }
  now_ns += pause_ns;
  world.board.arrive(0, {.rows = 100, .arrival_ns = now_ns});
  CHECK_EQ(world.start(now_ns), 2);
  world.board.end(2, now_ns);
  world.fail_until_out(now_ns);  // all is forgotten
  CHECK_EQ(world.board.out(), 1);
  CHECK(world.board.decide(now_ns + LaneHealth::kFirstPauseNs).kind == Decision::Kind::none);
  CHECK_EQ(world.board.out(), 0);
}

void what_waits_for_a_lost_device_goes_to_the_cores_in_its_turn() {
  Failing world;
  for (int i = 0; i < LaneHealth::kFailures; ++i) {
    world.board.arrive(0, {.rows = 100});
    CHECK_EQ(world.start(0), 2);
    if (i + 1 == LaneHealth::kFailures) {
      world.board.arrive(1, {.rows = 40, .arrival_ns = 1});
      world.board.arrive(2, {.rows = 10, .arrival_ns = 2});
      world.board.arrive(3, {.rows = 120, .arrival_ns = 3});
      world.board.arrive(4, {.rows = 20, .arrival_ns = 4});
    }
    world.board.end(2, 0, Ended::failed);
  }
  CHECK_EQ(world.board.waiting().queries(1), 0);
  for (const int32_t slot : {1, 2, 3, 3}) {
    const int32_t lane = world.start(5);
    CHECK(lane != 2 && world.piece.slot == slot);
    world.board.end(lane, 5);
  }
  // What has begun goes on where it was though the device is back.
  const Decision& decision = world.board.decide(LaneHealth::kFirstPauseNs);
  CHECK_EQ(world.board.out(), 0);
  CHECK(decision.pieces[0].slot == 3 && decision.pieces[0].row_begin == 80);
  CHECK_EQ(world.board.lane(decision.lane).kind, 0);
}

void only_failures_of_the_lane_count_and_the_last_lane_stays() {
  Failing world;
  for (int i = 0; i < 20; ++i) {
    world.board.arrive(0, {.rows = 100});
    CHECK_EQ(world.start(0), 2);
    world.board.end(2, 0, i % 3 == 2 ? Ended::well : i % 3 == 1 ? Ended::failed : Ended::unsure);
  }
  CHECK_EQ(world.board.outages(), 0);
  for (int i = 0; i < 20; ++i) {
    world.board.arrive(0, {.rows = 10});
    world.board.end(world.start(0), 0, Ended::failed);
  }
  CHECK_EQ(world.board.out(), 1);  // the other core serves, however it fails
}

}  // namespace
}  // namespace recstack

int main() {
  recstack::histogram_buckets_are_narrow_and_in_order();
  recstack::histogram_percentiles_are_within_one_percent();
  recstack::a_window_of_a_histogram_knows_nothing_of_what_was_before();
  recstack::an_order_is_that_of_a_sorted_list();
  recstack::backlog_keeps_its_orders();
  recstack::lines_of_a_backlog_are_apart();
  recstack::a_large_query_is_cut_in_nearly_equal_chunks();
  recstack::test::context.clear();
  recstack::small_queries_merge_up_to_the_limit();
  recstack::a_batch_has_a_bounded_number_of_queries();
  recstack::idle_lanes_share_what_waits();
  recstack::a_begun_query_goes_on_where_it_was_under_another_policy();
  recstack::a_passed_deadline_is_refused();
  recstack::a_deadline_is_kept_while_all_lanes_are_busy();
  recstack::a_pace_is_the_line_through_what_was_seen();
  recstack::what_the_pace_foretells_to_be_late_is_refused();
  recstack::those_without_a_deadline_keep_nobody_from_being_refused();
  recstack::a_window_waits_only_while_nothing_else_can_run();
  recstack::large_queries_go_whole_to_accelerators();
  recstack::a_late_query_is_refused_though_its_kind_of_lane_is_busy();
  recstack::without_a_threshold_all_lanes_are_alike();
  recstack::a_lane_that_keeps_failing_is_left_out_and_tried_again();
  recstack::what_waits_for_a_lost_device_goes_to_the_cores_in_its_turn();
  recstack::only_failures_of_the_lane_count_and_the_last_lane_stays();
  return recstack::test::finish();
}
