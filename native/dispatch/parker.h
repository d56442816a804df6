// Where one thread waits for another: a short spin, then sleep in the kernel (a futex).
//
// One thread waits; any thread notifies. A notification is kept until the next wait, several count
// once. What was written before notify() is seen after the wait that it ends.
#pragma once

#include <atomic>
#include <cstdint>

#include "dispatch/clock.h"

namespace recstack {

class Parker {
 public:
  void notify();

  // Returns when notified, or at `until_ns`. Looks for the notification for `spin_ns` before it
  // sleeps; a waiter that sleeps burns nothing.
  void wait(int64_t spin_ns, int64_t until_ns);

 private:
  enum State : uint32_t { empty, notified, parked };
  std::atomic<uint32_t> state_{empty};
};

}  // namespace recstack
