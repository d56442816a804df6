// Timed rounds: what a peak is taken from.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

namespace recstack {

// What the threads of one measurement do. `part` counts them from 0.
struct Contender {
  std::function<void(int part)> prepare;  // before the clock starts; may be empty
  std::function<void(int part)> work;     // what is timed
};

// One thread on each of `cores`. Rounds of the contenders in turn, until `budget_ns` have passed
// and each had two rounds; in a round all threads start together. The fastest round of each
// contender, from the first thread's start to the last one's end: the machine may be shared, and
// what others take is no property of it. Rounds of about a millisecond or less find gaps in other
// work. Throws std::runtime_error where a thread cannot be pinned.
std::vector<int64_t> fastest_ns(const std::vector<int>& cores, int64_t budget_ns,
                                const std::vector<Contender>& contenders);

}  // namespace recstack
