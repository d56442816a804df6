// How a thread is scheduled: bound to cores, those that a lane owns or that a peak is measured on,
// and how soon it runs when it wakes.
#pragma once

#include <string>
#include <vector>

namespace recstack {

// Binds the calling thread to `cores`; none leaves it as it is. Returns what went wrong, or "".
std::string pin_this_thread(const std::vector<int>& cores);

// Makes the kernel wake the calling thread on time, and in a lane's place where all cores are busy.
void wake_promptly();

}  // namespace recstack
