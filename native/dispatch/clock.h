// Monotonic nanoseconds, of the same origin as Python's time.monotonic_ns().
#pragma once

#include <chrono>
#include <cstdint>
#include <limits>

namespace recstack {

inline constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

inline int64_t now_ns() {
  const auto since = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(since).count();
}

}  // namespace recstack
