// The queries that wait for a lane, in the order in which they are to be served.
//
// A query stays here until its last row was dispatched; `next_row` says how far it is. Slots are
// numbers that the owner gives out, 0 to capacity - 1. Nothing is allocated after construction.
// Live dispatcher and simulator keep one each; a policy reads it and never changes it.
#pragma once

#include <cstdint>
#include <vector>

#include "dispatch/clock.h"

namespace recstack {

enum class Order { arrival, deadline };

struct Waiting {
  int64_t rows = 0;      // of the whole query, at least 1
  int64_t next_row = 0;  // rows before it were dispatched
  int64_t arrival_ns = 0;
  int64_t deadline_ns = kNever;
  int32_t merge_class = 0;  // only queries of equal class may share a batch

  int64_t left() const { return rows - next_row; }
};

class Backlog {
 public:
  Backlog(int32_t capacity, Order order);

  // Puts a query in its place: behind all of the same or an earlier deadline (Order::deadline), or
  // last. Cost: the number of later-deadline queries that it overtakes.
  void push(int32_t slot, const Waiting& query);

  // Rows before `row_end` are dispatched now; with none left the query goes.
  void advance(int32_t slot, int64_t row_end);
  void remove(int32_t slot);

  // Walks in serving order; -1 at the end.
  int32_t first() const { return first_; }
  int32_t next(int32_t slot) const { return links_[slot].next; }
  const Waiting& operator[](int32_t slot) const { return queries_[slot]; }

  int32_t queries() const { return count_; }
  int64_t rows() const { return rows_; }  // still to be dispatched
  bool empty() const { return count_ == 0; }

 private:
  struct Link {
    int32_t before = -1;
    int32_t next = -1;
  };

  std::vector<Waiting> queries_;
  std::vector<Link> links_;
  Order order_;
  int32_t first_ = -1;
  int32_t last_ = -1;
  int32_t count_ = 0;
  int64_t rows_ = 0;
};

}  // namespace recstack
