// Binds a thread to cores: those that a lane owns, or that a peak is measured on.
#pragma once

#include <string>
#include <vector>

namespace recstack {

// Binds the calling thread to `cores`; none leaves it as it is. Returns what went wrong, or "".
std::string pin_this_thread(const std::vector<int>& cores);

}  // namespace recstack
