#include "dispatch/backlog.h"

#include <cassert>

namespace recstack {

Backlog::Backlog(int32_t capacity, Order order)
    : queries_(capacity), links_(capacity), order_(order) {}

void Backlog::push(int32_t slot, const Waiting& query) {
  assert(query.rows > query.next_row);
  queries_[slot] = query;
  int32_t before = last_;
  if (order_ == Order::deadline) {
    while (before >= 0 && queries_[before].deadline_ns > query.deadline_ns) {
      before = links_[before].before;
    }
  }
  const int32_t after = before >= 0 ? links_[before].next : first_;
  links_[slot] = {before, after};
  (before >= 0 ? links_[before].next : first_) = slot;
  (after >= 0 ? links_[after].before : last_) = slot;
  count_ += 1;
  rows_ += query.left();
}

void Backlog::advance(int32_t slot, int64_t row_end) {
  Waiting& query = queries_[slot];
  assert(row_end > query.next_row && row_end <= query.rows);
  rows_ -= row_end - query.next_row;
  query.next_row = row_end;
  if (query.left() == 0) remove(slot);
}

void Backlog::remove(int32_t slot) {
  const Link link = links_[slot];
  (link.before >= 0 ? links_[link.before].next : first_) = link.next;
  (link.next >= 0 ? links_[link.next].before : last_) = link.before;
  count_ -= 1;
  rows_ -= queries_[slot].left();
}

}  // namespace recstack
