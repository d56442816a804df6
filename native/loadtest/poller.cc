#include "loadtest/poller.h"

#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "dispatch/clock.h"
#include "dispatch/pause.h"

namespace recstack {

Poller::Poller()
    : epoll_(epoll_create1(EPOLL_CLOEXEC)),
      timer_(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)) {
  // Edge-triggered: an expiry is told once and need not be read.
  if (epoll_ >= 0 && timer_ >= 0 && add(timer_, EPOLLIN | EPOLLET, nullptr)) return;
  const int error = errno;
  if (epoll_ >= 0) close(epoll_);
  if (timer_ >= 0) close(timer_);
  throw std::system_error(error, std::system_category(), "cannot wait for sockets");
}

Poller::~Poller() {
  close(timer_);
  close(epoll_);
}

bool Poller::add(int fd, uint32_t events, void* watched) {
  epoll_event event{.events = events, .data = {.ptr = watched}};
  return epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) == 0;
}

void Poller::change(int fd, uint32_t events, void* watched) {
  epoll_event event{.events = events, .data = {.ptr = watched}};
  epoll_ctl(epoll_, EPOLL_CTL_MOD, fd, &event);
}

void Poller::remove(int fd) { epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr); }

std::span<const epoll_event> Poller::wait(int64_t wake_ns, int64_t spin_ns) {
  const int64_t until_ns = std::max<int64_t>(wake_ns - spin_ns, 1);
  const bool sleeps = until_ns > now_ns();
  if (sleeps && until_ns != armed_ns_) {
    armed_ns_ = until_ns;
    itimerspec at{};
    at.it_value.tv_sec = static_cast<time_t>(until_ns / 1'000'000'000);
    at.it_value.tv_nsec = static_cast<long>(until_ns % 1'000'000'000);
    timerfd_settime(timer_, TFD_TIMER_ABSTIME, &at, nullptr);
  }
  if (!sleeps) pause();
  const int got = epoll_wait(epoll_, events_.data(), events_.size(), sleeps ? -1 : 0);
  return {events_.data(), static_cast<size_t>(std::max(got, 0))};  // -1: interrupted
}

}  // namespace recstack
