#include "core/arena.h"

#include <cassert>
#include <new>

namespace recstack {
namespace {

constexpr size_t kLineFloats = 16;

}  // namespace

Arena::Arena(size_t floats) : pages_(Pages::allocate(floats * sizeof(float))) {
  if (floats != 0 && pages_.data() == nullptr) throw std::bad_alloc();
}

size_t Arena::room(size_t floats) { return (floats + kLineFloats - 1) / kLineFloats * kLineFloats; }

float* Arena::take(size_t floats) {
  float* taken = reinterpret_cast<float*>(pages_.data()) + used_;
  used_ += room(floats);
  assert(used_ * sizeof(float) <= pages_.size());
  return taken;
}

}  // namespace recstack
