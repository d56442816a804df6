// Slots in ascending order of a key; equal keys in the order of insertion.
//
// A treap over arrays with its elements linked in order: insert and erase cost O(log n) expected,
// neighbours and ends O(1). Slots are numbers from 0 to capacity - 1, each in it at most once.
// Nothing is allocated after construction.
#pragma once

#include <cstdint>
#include <vector>

namespace recstack {

class SlotOrder {
 public:
  explicit SlotOrder(int32_t capacity) : nodes_(capacity) {}

  void insert(int32_t slot, int64_t key);
  void erase(int32_t slot);

  // -1: none.
  int32_t first() const { return first_; }
  int32_t last() const { return last_; }
  int32_t next(int32_t slot) const { return nodes_[slot].next; }
  int32_t before(int32_t slot) const { return nodes_[slot].before; }

 private:
  struct Node {
    int64_t key;
    uint32_t priority;  // no child's is higher
    int32_t parent;
    int32_t child[2];  // lower and higher keys
    int32_t before;
    int32_t next;
  };

  void link(int32_t slot, int32_t before, int32_t next);
  void lift(int32_t slot);
  int32_t& seat(int32_t slot);

  std::vector<Node> nodes_;
  int32_t root_ = -1;
  int32_t first_ = -1;
  int32_t last_ = -1;
  uint32_t random_ = 2463534242U;
};

}  // namespace recstack
