#include "dispatch/parker.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

#include "dispatch/pause.h"

namespace recstack {
namespace {

static_assert(sizeof(std::atomic<uint32_t>) == sizeof(uint32_t));

// Sleeps while the word is `value`, at most until `until_ns` of CLOCK_MONOTONIC.
void futex_wait(std::atomic<uint32_t>* word, uint32_t value, int64_t until_ns) {
  timespec until{};
  until.tv_sec = static_cast<time_t>(until_ns / 1'000'000'000);
  until.tv_nsec = static_cast<long>(until_ns % 1'000'000'000);
  // WAIT_BITSET takes an absolute time, so that an interrupted sleep starts again unchanged.
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(word), FUTEX_WAIT_BITSET_PRIVATE, value,
          until_ns == kNever ? nullptr : &until, nullptr, FUTEX_BITSET_MATCH_ANY);
}

void futex_wake(std::atomic<uint32_t>* word) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(word), FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

}  // namespace

void Parker::notify() {
  if (state_.exchange(notified, std::memory_order_acq_rel) == parked) futex_wake(&state_);
}

void Parker::wait(int64_t spin_ns, int64_t until_ns) {
  if (spin_ns > 0) {
    const int64_t spin_until_ns = std::min(now_ns() + spin_ns, until_ns);
    while (state_.load(std::memory_order_relaxed) != notified && now_ns() < spin_until_ns) {
      for (int i = 0; i < 16; ++i) pause();
    }
  }
  uint32_t expected = empty;
  if (state_.compare_exchange_strong(expected, parked, std::memory_order_acq_rel)) {
    while (state_.load(std::memory_order_acquire) == parked && now_ns() < until_ns) {
      futex_wait(&state_, parked, until_ns);
    }
  }
  state_.exchange(empty, std::memory_order_acq_rel);
}

}  // namespace recstack
