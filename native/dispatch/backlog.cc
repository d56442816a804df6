#include "dispatch/backlog.h"

#include <algorithm>
#include <cassert>

namespace recstack {
namespace {

constexpr int64_t kTypicalOf = 32;   // arrivals that the average work spans
constexpr int64_t kTypicalMost = 2;  // times the average: one large query counts for no more

}  // namespace

void Backlog::push(int32_t slot, const Waiting& query) {
  put_back(slot, query);
  const int64_t counted_ns = std::min(query.work_ns, kTypicalMost * typical_work_ns_);
  typical_work_ns_ = typical_work_ns_ == 0
                         ? query.work_ns
                         : typical_work_ns_ + (counted_ns - typical_work_ns_) / kTypicalOf;
}

void Backlog::put_back(int32_t slot, const Waiting& query) {
  assert(query.rows > query.next_row);
  queries_[slot] = query;
  Line& line = lines_[query.line];
  line.order.insert(slot, query.due_ns);
  line.queries += 1;
  enter(slot);
}

void Backlog::update(int32_t slot, const Waiting& query) {
  assert(query.left() > 0 && query.due_ns == queries_[slot].due_ns);
  assert(query.line == queries_[slot].line);
  leave(slot);
  queries_[slot] = query;
  enter(slot);
}

void Backlog::remove(int32_t slot) {
  leave(slot);
  Line& line = lines_[queries_[slot].line];
  line.order.erase(slot);
  line.queries -= 1;
}

Backlog::Tail Backlog::last_limited(int32_t line) const {
  Tail tail{.slot = last(line)};
  const SlotOrder& order = lines_[line].order;
  for (; tail.slot >= 0; tail.slot = order.before(tail.slot)) {
    const Waiting& query = queries_[tail.slot];
    if (query.latest_start_ns != kNever) return tail;
    if (++tail.queries == kTailLooks) break;
    tail.rows += query.left();
    tail.work_ns += query.work_ns;
  }
  return {};
}

void Backlog::enter(int32_t slot) {
  const Waiting& query = queries_[slot];
  lines_[query.line].rows += query.left();
  work_ns_ += query.work_ns;
  if (query.latest_start_ns == kNever) return;
  urgency_.insert(slot, query.latest_start_ns);
  if (query.next_row == 0) sizes_.insert(slot, query.rows);
}

void Backlog::leave(int32_t slot) {
  const Waiting& query = queries_[slot];
  lines_[query.line].rows -= query.left();
  work_ns_ -= query.work_ns;
  if (query.latest_start_ns == kNever) return;
  urgency_.erase(slot);
  if (query.next_row == 0) sizes_.erase(slot);
}

}  // namespace recstack
