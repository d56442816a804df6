// The queries that wait for a lane: in serving order, by urgency and by size.
//
// A query stays here until its last row was dispatched; `next_row` says how far it is. Where it
// stands is the policy's choice (Policy::place). Slots are numbers that the owner gives out, 0 to
// capacity - 1. Nothing is allocated after construction; changes cost O(log n). Live dispatcher and
// simulator keep one each; a policy reads it and never changes it.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "dispatch/clock.h"
#include "dispatch/slot_order.h"

namespace recstack {

// Lines of queries, each in an order of its own: all in the first, unless a policy keeps some lanes
// for queries of their own.
inline constexpr int32_t kLines = 2;
inline constexpr int32_t kTailLooks = 128;

struct Waiting {
  int64_t rows = 0;      // of the whole query, at least 1
  int64_t next_row = 0;  // rows before it were dispatched
  int64_t arrival_ns = 0;
  int64_t deadline_ns = kNever;
  int32_t merge_class = 0;  // only queries of equal class may share a batch

  // By Policy::place.
  int32_t line = 0;                  // where it waits, [0, kLines); for good
  int64_t due_ns = 0;                // served in this order within its line
  int64_t latest_start_ns = kNever;  // too late for its deadline after this; kNever: has none
  int64_t work_ns = 0;               // predicted: of its rows that are left, on one lane

  int64_t left() const { return rows - next_row; }
};

class Backlog {
 public:
  // A query, and what stands behind it in its line.
  struct Tail {
    int32_t slot = -1;  // -1: none
    int32_t queries = 0;
    int64_t rows = 0;
    int64_t work_ns = 0;
  };

  explicit Backlog(int32_t capacity)
      : queries_(capacity),
        lines_{Line(capacity), Line(capacity)},
        urgency_(capacity),
        sizes_(capacity) {}

  // A query that came, in its place; queries of one `due_ns` keep the order in which they came.
  void push(int32_t slot, const Waiting& query);
  // One that was removed, behind those of its `due_ns`.
  void put_back(int32_t slot, const Waiting& query);
  // What is left of a query that stays, in its new place; `due_ns` as it was.
  void update(int32_t slot, const Waiting& query);
  void remove(int32_t slot);

  // Walks a line in serving order; -1 at the end.
  int32_t first(int32_t line = 0) const { return lines_[line].order.first(); }
  int32_t last(int32_t line = 0) const { return lines_[line].order.last(); }
  int32_t next(int32_t slot) const { return lines_[queries_[slot].line].order.next(slot); }
  // The last in serving order with a latest start; looks no further than kTailLooks back.
  Tail last_limited(int32_t line = 0) const;
  int32_t queries(int32_t line) const { return lines_[line].queries; }
  int64_t rows(int32_t line) const { return lines_[line].rows; }  // still to be dispatched
  // Of the queries with a latest start: the one with the earliest, and the one with the most rows
  // of which none is dispatched yet; -1: none.
  int32_t most_urgent() const { return urgency_.first(); }
  int32_t largest() const { return sizes_.last(); }
  int32_t smaller(int32_t slot) const { return sizes_.before(slot); }  // the next largest; -1: none
  const Waiting& operator[](int32_t slot) const { return queries_[slot]; }

  // Of all lines.
  int32_t queries() const { return lines_[0].queries + lines_[1].queries; }
  int64_t rows() const { return lines_[0].rows + lines_[1].rows; }
  int64_t work_ns() const { return work_ns_; }  // predicted, of these rows
  bool empty() const { return queries() == 0; }
  // Work of a query on its arrival: an average over the last few dozen that came, in which none
  // counts for more than twice what was typical before it.
  int64_t typical_work_ns() const { return typical_work_ns_; }

 private:
  struct Line {
    explicit Line(int32_t capacity) : order(capacity) {}

    SlotOrder order;
    int32_t queries = 0;
    int64_t rows = 0;
  };

  void enter(int32_t slot);
  void leave(int32_t slot);

  std::vector<Waiting> queries_;
  std::array<Line, kLines> lines_;
  SlotOrder urgency_;
  SlotOrder sizes_;
  int64_t work_ns_ = 0;
  int64_t typical_work_ns_ = 0;
};

}  // namespace recstack
