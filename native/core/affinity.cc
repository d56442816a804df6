#include "core/affinity.h"

#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace recstack {

std::string pin_this_thread(const std::vector<int>& cores) {
  if (cores.empty()) return "";
  const auto [low, high] = std::minmax_element(cores.begin(), cores.end());
  std::string names;
  for (const int core : cores) names += (names.empty() ? "" : ", ") + std::to_string(core);
  if (*low < 0 || *high > 1 << 16) return "cannot pin to cores {" + names + "}: no such core";

  // Sized by hand: cpu_set_t ends at 1024 cores.
  cpu_set_t* set = CPU_ALLOC(*high + 1);
  if (set == nullptr) return "cannot pin to cores {" + names + "}: no memory";
  const size_t bytes = CPU_ALLOC_SIZE(*high + 1);
  CPU_ZERO_S(bytes, set);
  for (const int core : cores) CPU_SET_S(core, bytes, set);
  const int failed = sched_setaffinity(0, bytes, set) == 0 ? 0 : errno;
  CPU_FREE(set);
  if (failed == 0) return "";
  return "cannot pin to cores {" + names + "}: " + std::strerror(failed);
}

}  // namespace recstack
