#include "core/affinity.h"

#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

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

void wake_promptly() {
  // By default a sleeper may be woken 50 us late, to save wake-ups.
  prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
  // A short slice: since Linux 6.12 its owner preempts those with longer ones when it wakes. Needs
  // no privilege; older kernels take no notice of it. (struct sched_attr, sched_setattr(2).)
  struct {
    uint32_t size = 48, policy = SCHED_OTHER;
    uint64_t flags = 0;
    int32_t nice = getpriority(PRIO_PROCESS, 0);  // as it is
    uint32_t priority = 0;
    uint64_t runtime_ns = 100'000, deadline_ns = 0, period_ns = 0;
  } attributes;
  if (sched_getscheduler(0) == SCHED_OTHER) syscall(SYS_sched_setattr, 0, &attributes, 0U);
}

}  // namespace recstack
