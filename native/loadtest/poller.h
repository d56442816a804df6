// Waits for sockets, and for a moment in time to the microsecond (epoll alone rounds to
// milliseconds): sleeps in the kernel, then looks at the sockets over and over for the last
// stretch.
#pragma once

#include <sys/epoll.h>

#include <array>
#include <cstdint>
#include <span>

namespace recstack {

class Poller {
 public:
  Poller();  // throws std::system_error when there is no descriptor left
  ~Poller();
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;

  // False, and errno says why, when the kernel cannot watch it. `watched` comes back in events.
  bool add(int fd, uint32_t events, void* watched);
  void change(int fd, uint32_t events, void* watched);
  // To close it is not enough: a process that was forked may have it open.
  void remove(int fd);

  // What happened, `data.ptr` being what is watched, or null for a timer: perhaps nothing. Sleeps
  // until the first event or until `spin_ns` before `wake_ns`; from then on it only looks, and the
  // caller comes back until it is time.
  std::span<const epoll_event> wait(int64_t wake_ns, int64_t spin_ns);

 private:
  int epoll_;
  int timer_;
  int64_t armed_ns_ = -1;
  std::array<epoll_event, 16> events_;  // few, so that the caller looks at the clock in between
};

}  // namespace recstack
