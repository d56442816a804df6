// Memory for many arrays that live as long as their owner, side by side on huge pages: a
// processor's own prefetching stops at a page's end, which costs a tenth of L3's bandwidth on small
// pages.
#pragma once

#include <cstddef>

#include "core/pages.h"

namespace recstack {

class Arena {
 public:
  // Room for `floats` floats in arrays that `room` was summed over; bad_alloc when there is none.
  explicit Arena(size_t floats);

  // What an array of so many floats takes here.
  static size_t room(size_t floats);
  // An uninitialised array aligned to 64 bytes; asserts that it fits.
  float* take(size_t floats);

 private:
  Pages pages_;
  size_t used_ = 0;
};

}  // namespace recstack
