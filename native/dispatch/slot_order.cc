#include "dispatch/slot_order.h"

namespace recstack {

void SlotOrder::insert(int32_t slot, int64_t key) {
  random_ ^= random_ << 13;  // xorshift (Marsaglia 2003)
  random_ ^= random_ >> 17;
  random_ ^= random_ << 5;
  nodes_[slot] = {
      .key = key, .priority = random_, .parent = -1, .child = {-1, -1}, .before = -1, .next = -1};
  if (root_ < 0) {
    root_ = first_ = last_ = slot;
    return;
  }
  int32_t parent = last_, side = 1, before = last_, next = -1;
  if (key < nodes_[last_].key) {
    before = -1;
    for (int32_t at = root_; at >= 0; at = nodes_[at].child[side]) {
      parent = at;
      side = key >= nodes_[at].key;
      (side ? before : next) = at;
    }
  }
  nodes_[parent].child[side] = slot;
  nodes_[slot].parent = parent;
  link(slot, before, next);
  while (nodes_[slot].parent >= 0 && nodes_[nodes_[slot].parent].priority < nodes_[slot].priority) {
    lift(slot);
  }
}

void SlotOrder::erase(int32_t slot) {
  Node& node = nodes_[slot];
  while (node.child[0] >= 0 && node.child[1] >= 0) {
    const bool higher = nodes_[node.child[1]].priority > nodes_[node.child[0]].priority;
    lift(node.child[higher]);
  }
  const int32_t heir = node.child[0] >= 0 ? node.child[0] : node.child[1];
  seat(slot) = heir;
  if (heir >= 0) nodes_[heir].parent = node.parent;
  (node.before >= 0 ? nodes_[node.before].next : first_) = node.next;
  (node.next >= 0 ? nodes_[node.next].before : last_) = node.before;
}

void SlotOrder::link(int32_t slot, int32_t before, int32_t next) {
  nodes_[slot].before = before;
  nodes_[slot].next = next;
  (before >= 0 ? nodes_[before].next : first_) = slot;
  (next >= 0 ? nodes_[next].before : last_) = slot;
}

// Rotates a slot into its parent's place.
void SlotOrder::lift(int32_t slot) {
  const int32_t parent = nodes_[slot].parent;
  const int side = nodes_[parent].child[1] == slot;
  const int32_t moved = nodes_[slot].child[1 - side];
  seat(parent) = slot;
  nodes_[slot].parent = nodes_[parent].parent;
  nodes_[slot].child[1 - side] = parent;
  nodes_[parent].parent = slot;
  nodes_[parent].child[side] = moved;
  if (moved >= 0) nodes_[moved].parent = parent;
}

// Where the tree refers to a slot.
int32_t& SlotOrder::seat(int32_t slot) {
  const int32_t parent = nodes_[slot].parent;
  if (parent < 0) return root_;
  return nodes_[parent].child[nodes_[parent].child[1] == slot];
}

}  // namespace recstack
