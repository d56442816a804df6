// The slack policy and the cost curve it predicts with, decision by decision.
#include "dispatch/slack.h"

#include <stdexcept>
#include <vector>

#include "check.h"

namespace recstack {
namespace {

// 1 us per row, `fixed` more per batch, up to 1024 rows, however many lanes run.
CostCurve line(double fixed_ns, double row_ns = 1000.0) {
  CostTable table{.busy = {1}, .service_ns = {}, .query_ns = 0.0};
  for (int k = 0; k <= 10; ++k) table.service_ns.push_back(fixed_ns + row_ns * (1 << k));
  return CostCurve(table);
}

void a_curve_goes_through_what_was_measured() {
  const CostCurve curve(
      {.busy = {1, 3}, .service_ns = {10, 12, 20, 40, 30, 36, 60, 120}, .query_ns = 5});
  const int64_t want[][4] = {{1, 1, 1, 10},  {2, 1, 1, 12}, {3, 1, 1, 16}, {8, 1, 1, 40},
                             {16, 1, 1, 80}, {4, 3, 1, 30}, {4, 1, 2, 40}, {4, 1, 3, 60},
                             {4, 1, 9, 60},  {0, 1, 1, 0}};
  for (const auto& [rows, queries, busy, ns] : want) {
    CHECK_EQ(curve.service_ns(rows, queries, busy), ns);
  }
  CHECK_EQ(curve.rows_within(16), 3);
  CHECK_EQ(curve.rows_within(80), 16);
  CHECK_EQ(curve.rows_within(1), 1);
  CHECK_EQ(curve.efficient_rows(1.0), 4);
  CHECK_EQ(curve.most_efficient_rows(1.0), int64_t{1} << 40);
}

void a_curve_never_falls_and_knows_its_best_rows() {
  const CostCurve curve({.busy = {1}, .service_ns = {10, 8, 12, 40}, .query_ns = 0});
  CHECK_EQ(curve.service_ns(2), 10);
  CHECK_EQ(curve.most_efficient_rows(0.95), 4);
  const CostCurve linear = line(16'000);
  // 16 us + 1 us per row: 16 / rows over 1 is 1 / 9 + what 1024 rows cost more than 1.
  CHECK_NEAR(static_cast<double>(linear.efficient_rows(0.9)), 126.0, 2.0);
}

void observations_move_a_curve_within_bounds() {
  CostCurve curve = line(0);
  for (int i = 0; i < 2000; ++i) curve.observe(64, 1, 1, 96'000);
  CHECK_NEAR(static_cast<double>(curve.service_ns(64)), 96'000, 1000);
  CHECK_EQ(curve.service_ns(1), 1000);
  for (int64_t rows = 1; rows < 2048; ++rows) {
    CHECK(curve.service_ns(rows) <= curve.service_ns(rows + 1));
  }
  for (int i = 0; i < 10000; ++i) curve.observe(64, 1, 1, 100'000'000);
  CHECK_NEAR(static_cast<double>(curve.service_ns(64)), 256'000, 1000);
  for (int i = 0; i < 10000; ++i) curve.observe(64, 1, 1, 1);
  CHECK(curve.service_ns(64) >= 16'000);
  for (int64_t rows = 1; rows < 2048; ++rows) {
    CHECK(curve.service_ns(rows) <= curve.service_ns(rows + 1));
  }
}

void a_bad_table_is_refused() {
  const CostTable bad[] = {{.busy = {}, .service_ns = {}},
                           {.busy = {2}, .service_ns = {1, 2}},
                           {.busy = {1, 1}, .service_ns = {1, 2, 3, 4}},
                           {.busy = {1}, .service_ns = {1}},
                           {.busy = {1}, .service_ns = {1, -2}}};
  int refused = 0;
  for (const CostTable& table : bad) {
    try {
      const CostCurve curve(table);
    } catch (const std::invalid_argument&) {
      refused += 1;
    }
  }
  CHECK_EQ(refused, 5);
}

struct World {
  explicit World(int lanes, const SlackOptions& options = {}, double fixed_ns = 0)
      : policy(options), board(&policy, std::vector<int32_t>(lanes), {line(fixed_ns)}, 512) {}

  void arrive(int32_t slot, int64_t rows, int64_t now_ns = 0, int64_t deadline_ns = kNever) {
    board.arrive(slot, {.rows = rows, .arrival_ns = now_ns, .deadline_ns = deadline_ns});
  }

  // Starts all that can start; the rows of each batch.
  std::vector<int64_t> start_all(int64_t now_ns) {
    std::vector<int64_t> out;
    while (board.decide(now_ns).kind == Decision::Kind::run) {
      const Decision& decision = board.decide(now_ns);
      last = decision;
      int64_t rows = 0;
      for (const Piece& piece : decision.pieces) rows += piece.row_end - piece.row_begin;
      out.push_back(rows);
      board.start(now_ns);
    }
    return out;
  }

  SlackPolicy policy;
  Board board;
  Decision last;
};

void a_lone_query_takes_all_lanes() {
  World world(4);
  world.arrive(0, 400);
  CHECK((world.start_all(0) == std::vector<int64_t>{100, 100, 100, 100}));
  CHECK(world.board.waiting().empty());
}

void queries_that_come_together_share_the_lanes() {
  World world(4);
  world.arrive(0, 200);
  world.arrive(1, 200);
  CHECK((world.start_all(0) == std::vector<int64_t>{100, 100, 100, 100}));
}

void where_a_cut_costs_much_a_query_stays_whole() {
  World world(4, {}, 1e6);  // a batch costs 1 ms before its first row
  world.arrive(0, 100);
  world.arrive(1, 100);
  world.arrive(2, 100);
  CHECK((world.start_all(0) == std::vector<int64_t>{100, 100, 100}));
}

void a_large_query_lets_small_ones_pass_between_its_chunks() {
  World world(1, {.target_ns = 1'000'000'000});
  for (int32_t s = 1; s < 200; ++s) {  // what is typical here
    world.arrive(s, 10);
    while (world.board.decide(0).kind == Decision::Kind::run) {
      world.board.start(0);
      world.board.end(0, 10'000);
    }
  }
  world.arrive(0, 1000);
  CHECK_EQ(static_cast<int>(world.start_all(0).size()), 1);
  CHECK(world.last.pieces[0].row_end < 100);
  world.arrive(1, 10, 20'000);
  world.board.end(0, 50'000);
  CHECK((world.start_all(50'000) == std::vector<int64_t>{10}));
  CHECK_EQ(world.last.pieces[0].slot, 1);
}

// Ten-row queries come and end until they are what is typical.
void make_small_typical(World* world) {
  for (int32_t s = 1; s < 100; ++s) {
    world->arrive(s, 10);
    while (world->board.decide(0).kind == Decision::Kind::run) {
      const int32_t lane = world->board.decide(0).lane;
      world->board.start(0);
      world->board.end(lane, 10'000);
    }
  }
}

void a_large_query_with_ample_slack_leaves_a_quarter_of_the_lanes() {
  for (const bool ample : {true, false}) {
    World world(8);
    make_small_typical(&world);
    world.arrive(0, 1000, 0, ample ? 100'000'000 : 1'500'000);
    CHECK_EQ(static_cast<int>(world.start_all(0).size()), ample ? 6 : 8);
    if (!ample) continue;
    CHECK(world.board.decide(0).kind == Decision::Kind::wait);
    world.arrive(1, 10, 0);
    CHECK(world.board.decide(0).kind == Decision::Kind::run);
    CHECK_EQ(world.board.decide(0).pieces[0].slot, 1);
  }
}

void one_large_query_does_not_change_what_is_typical() {
  World world(1);
  make_small_typical(&world);
  const int64_t before_ns = world.board.waiting().typical_work_ns();
  world.arrive(0, 1000);
  CHECK(world.board.waiting().typical_work_ns() < 1.1 * static_cast<double>(before_ns));
}

void a_small_query_is_cut_as_if_lanes_of_a_large_one_were_idle() {
  World world(4);
  make_small_typical(&world);
  world.arrive(0, 1000, 0, 1'500'000);
  world.start_all(0);
  world.board.end(0, 5'000);
  world.arrive(1, 8, 5'000);
  CHECK((world.start_all(5'000) == std::vector<int64_t>{4}));
  CHECK_EQ(world.last.pieces[0].slot, 1);
}

void what_waits_leaves_time_for_a_chunk_worth_its_overhead() {
  World world(8, {.target_ns = 10'000'000}, 1e6);  // a batch costs 1 ms before its first row
  for (int32_t s = 0; s < 8; ++s) world.arrive(s, 1000);
  CHECK_EQ(static_cast<int>(world.start_all(0).size()), 8);  // until 2 ms
  int32_t slot = 8;
  while (world.board.decide(0).kind != Decision::Kind::refuse) world.arrive(slot++, 1000);
  const double work_ns = 8 * 2e6 + static_cast<double>(world.board.waiting().work_ns());
  // Of 10 ms are kept 5%, three eighths of a query's 2 ms, and 7 / 8 of the 1.8 ms of a chunk at
  // 90% of the best rows per second.
  CHECK_NEAR(work_ns / 8, 7.2e6, 3e5);
}

void the_earliest_deadline_goes_first_and_an_urgent_one_before_all() {
  World world(1, {.stretch = 1e9});
  world.arrive(9, 100);
  world.start_all(0);  // the lane is busy until 100 us
  world.arrive(0, 100, 0, 5'000'000);
  world.arrive(1, 100, 0, 3'000'000);
  world.arrive(2, 100, 0, 4'000'000);
  std::vector<int32_t> order;
  for (int64_t now_ns = 100'000; now_ns < 400'000; now_ns += 100'000) {
    world.board.end(0, now_ns);
    world.start_all(now_ns);
    order.push_back(world.last.pieces[0].slot);
  }
  CHECK((order == std::vector<int32_t>{1, 2, 0}));
}

void what_cannot_end_in_time_is_refused_while_all_lanes_are_busy() {
  World world(1);
  world.arrive(0, 1000);
  world.start_all(0);  // until 1 ms
  world.arrive(1, 100, 0, 1'050'000);
  CHECK(world.board.decide(0).kind == Decision::Kind::refuse);
  world.board.remove(1);
  world.arrive(2, 100, 0, 1'500'000);
  CHECK(world.board.decide(0).kind == Decision::Kind::wait);
  CHECK_EQ(world.board.decide(0).wake_ns, 1'400'001);
  CHECK_EQ(world.board.decide(0).lane, -1);
  // The lane takes longer than predicted: refused before the deadline all the same.
  CHECK(world.board.decide(1'400'001).kind == Decision::Kind::refuse);
}

void a_curve_that_became_too_high_does_not_refuse_for_ever() {
  World world(2);
  for (int i = 0; i < 500; ++i) {  // everything takes four times as long for a while
    world.arrive(0, 1000);
    while (!world.start_all(0).empty()) {
      for (int32_t lane = 0; lane < 2; ++lane) {
        const LaneState& state = world.board.lane(lane);
        if (!state.idle) world.board.end(lane, 4000 * state.rows);
      }
    }
  }
  int refused = 0;
  for (;; ++refused) {
    CHECK(refused < 1000);
    world.arrive(0, 1000, 0, 1'000'000);  // half a millisecond on two lanes, in truth
    if (world.board.decide(0).kind == Decision::Kind::run) break;
    CHECK(world.board.decide(0).kind == Decision::Kind::refuse);
    world.board.refuse(0, 0);
  }
  CHECK(refused > 0);
}

void a_failed_batch_teaches_nothing() {
  World world(1);
  for (int i = 0; i < 100; ++i) {
    world.arrive(0, 100);
    world.start_all(0);
    world.board.end(0, 1, Ended::failed);
  }
  CHECK_EQ(world.board.costs()[0].service_ns(100), 100'000);
}

void of_too_much_the_largest_or_the_latest_is_refused() {
  for (const Shed shed : {Shed::largest, Shed::latest}) {
    World world(1, {.target_ns = 2'000'000, .shed = shed, .stretch = 1e9});
    world.arrive(0, 1000);
    world.start_all(0);
    world.arrive(1, 100);
    world.arrive(2, 500);
    CHECK(world.board.decide(0).kind == Decision::Kind::wait);
    world.arrive(3, 400);
    CHECK(world.board.decide(0).kind == Decision::Kind::refuse);
    CHECK_EQ(world.board.decide(0).refused, shed == Shed::largest ? 2 : 3);
  }
}

void those_without_a_deadline_keep_nobody_from_being_refused() {
  for (const Shed shed : {Shed::largest, Shed::latest}) {
    World world(1, {.shed = shed, .stretch = 1e9});
    world.arrive(0, 1000);
    world.start_all(0);
    world.arrive(1, 100, 0, 2'000'000);
    for (int32_t s = 10; s < 20; ++s) world.arrive(s, 900);  // behind all that have a deadline
    world.arrive(2, 500, 0, 2'000'000);
    CHECK(world.board.decide(0).kind == Decision::Kind::wait);
    world.arrive(3, 400, 0, 2'000'000);
    CHECK(world.board.decide(0).kind == Decision::Kind::refuse);
    CHECK_EQ(world.board.decide(0).refused, shed == Shed::largest ? 2 : 3);
  }
}

void small_queries_merge_only_while_lanes_are_busy() {
  World world(2, {}, 50'000);
  world.arrive(0, 4);
  CHECK((world.start_all(0) == std::vector<int64_t>{4}));
  world.arrive(1, 4);
  CHECK((world.start_all(0) == std::vector<int64_t>{4}));
  for (int32_t s = 2; s < 10; ++s) world.arrive(s, 4);
  CHECK(world.start_all(0).empty());
  world.board.end(0, 54'000);
  CHECK((world.start_all(54'000) == std::vector<int64_t>{32}));
}

void a_merged_batch_ends_by_every_deadline() {
  World world(1, {}, 50'000);
  world.arrive(0, 1000);
  world.start_all(0);
  world.arrive(1, 100, 0, 1'250'000);
  world.arrive(2, 100, 0, 1'500'000);
  world.board.end(0, 1'050'000);
  CHECK((world.start_all(1'050'000) == std::vector<int64_t>{100}));
}

void a_query_goes_where_it_ends_first() {
  // Kind 1: 500 us per batch and hardly more for its rows.
  SlackPolicy policy({});
  Board board(&policy, {0, 0, 1}, {line(0), line(500'000, 10)}, 16);
  board.arrive(0, {.rows = 1});
  CHECK_EQ(board.lane(board.decide(0).lane).kind, 0);
  board.start(0);
  board.arrive(1, {.rows = 1000});
  CHECK_EQ(board.lane(board.decide(0).lane).kind, 1);
  CHECK_EQ(board.decide(0).pieces[0].row_end, 1000);
  board.start(0);
  // Late on the idle lane, in time on the busy one: it waits, and a small one passes it.
  board.arrive(2, {.rows = 1000, .arrival_ns = 0, .deadline_ns = 1'100'000});
  CHECK(board.decide(200'000).kind == Decision::Kind::wait);
  CHECK_EQ(board.decide(200'000).lane, -1);
  CHECK_EQ(board.decide(200'000).wake_ns, 766'001);  // however long the busy lane takes
  board.arrive(3, {.rows = 1, .arrival_ns = 200'000});
  CHECK(board.decide(200'000).kind == Decision::Kind::run);
  CHECK_EQ(board.decide(200'000).pieces[0].slot, 3);
  board.start(200'000);
  board.end(2, 510'000);
  CHECK_EQ(board.decide(510'000).pieces[0].slot, 2);
  CHECK_EQ(board.decide(510'000).lane, 2);
}

void a_device_takes_what_gains_most() {
  // 100 us per batch, a tenth of the time of a core per row.
  SlackPolicy policy({.target_ns = 100'000'000});
  Board board(&policy, {0, 1}, {line(0), line(100'000, 100)}, 16);
  board.arrive(0, {.rows = 1000});
  CHECK_EQ(board.decide(0).lane, 1);
  board.start(0);  // until 200 us
  board.arrive(1, {.rows = 200});
  CHECK_EQ(board.decide(0).lane, 0);
  board.start(0);
  for (int32_t s = 2; s < 8; ++s) board.arrive(s, {.rows = 100 * s});
  board.end(1, 200'000);
  CHECK_EQ(board.decide(200'000).lane, 1);
  CHECK_EQ(board.decide(200'000).pieces[0].slot, 7);
  CHECK_EQ(board.decide(200'000).pieces[0].row_end, 700);
}

void a_busy_device_slows_no_core_down() {
  // Two cores that run together take twice as long.
  const CostCurve cost({.busy = {1, 2}, .service_ns = {1000, 2000, 2000, 4000}, .query_ns = 0});
  SlackPolicy policy({});
  Board board(&policy, {0, 0, 1}, {cost, line(0, 1)}, 16);
  const auto start_one = [&](int32_t slot, int64_t rows) {
    board.arrive(slot, {.rows = rows});
    CHECK(board.decide(0).kind == Decision::Kind::run);
    const int32_t lane = board.decide(0).lane;
    board.start(0);
    return board.lane(lane);
  };
  const LaneState device = start_one(0, 64);
  CHECK(device.kind == 1 && device.busy == 1);
  const LaneState alone = start_one(1, 1);
  CHECK(alone.kind == 0 && alone.busy == 1);
  CHECK_EQ(alone.until_ns, 1000);
  CHECK_EQ(start_one(2, 1).until_ns, 2000);
}

void without_its_device_a_query_is_cut_for_the_cores() {
  SlackPolicy policy({.target_ns = 10'000'000});
  Board board(&policy, {0, 0, 1}, {line(0), line(100, 1)}, 16);
  for (int i = 0; i < LaneHealth::kFailures; ++i) {
    board.arrive(0, {.rows = 1000});
    CHECK_EQ(board.decide(0).lane, 2);
    board.start(0);
    if (i + 1 == LaneHealth::kFailures) board.arrive(1, {.rows = 1000});
    CHECK_EQ(board.waiting().largest(), i + 1 == LaneHealth::kFailures ? 1 : -1);
    board.end(2, 0, Ended::failed);
  }
  CHECK_EQ(board.waiting()[1].latest_start_ns, 10'000'000 - 500'000);  // on two cores at best
  CHECK_EQ(board.costs().size(), size_t{1});
  CHECK_EQ(board.decide(0).pieces[0].row_end, 500);
  CHECK_EQ(board.lane(board.decide(0).lane).kind, 0);
}

}  // namespace
}  // namespace recstack

int main() {
  recstack::a_curve_goes_through_what_was_measured();
  recstack::a_curve_never_falls_and_knows_its_best_rows();
  recstack::observations_move_a_curve_within_bounds();
  recstack::a_bad_table_is_refused();
  recstack::a_lone_query_takes_all_lanes();
  recstack::queries_that_come_together_share_the_lanes();
  recstack::where_a_cut_costs_much_a_query_stays_whole();
  recstack::a_large_query_lets_small_ones_pass_between_its_chunks();
  recstack::a_large_query_with_ample_slack_leaves_a_quarter_of_the_lanes();
  recstack::one_large_query_does_not_change_what_is_typical();
  recstack::a_small_query_is_cut_as_if_lanes_of_a_large_one_were_idle();
  recstack::what_waits_leaves_time_for_a_chunk_worth_its_overhead();
  recstack::the_earliest_deadline_goes_first_and_an_urgent_one_before_all();
  recstack::what_cannot_end_in_time_is_refused_while_all_lanes_are_busy();
  recstack::a_curve_that_became_too_high_does_not_refuse_for_ever();
  recstack::a_failed_batch_teaches_nothing();
  recstack::of_too_much_the_largest_or_the_latest_is_refused();
  recstack::those_without_a_deadline_keep_nobody_from_being_refused();
  recstack::small_queries_merge_only_while_lanes_are_busy();
  recstack::a_merged_batch_ends_by_every_deadline();
  recstack::a_query_goes_where_it_ends_first();
  recstack::a_device_takes_what_gains_most();
  recstack::a_busy_device_slows_no_core_down();
  recstack::without_its_device_a_query_is_cut_for_the_cores();
  return recstack::test::finish();
}
