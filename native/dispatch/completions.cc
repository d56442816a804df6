#include "dispatch/completions.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <iterator>
#include <system_error>

namespace recstack {

Completions::Completions() : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (fd_ < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
}

Completions::~Completions() { close(fd_); }

void Completions::finished(std::span<Finished> queries) {
  bool was_empty;
  {
    const std::lock_guard lock(mutex_);
    was_empty = queue_.empty();
    queue_.insert(queue_.end(), std::make_move_iterator(queries.begin()),
                  std::make_move_iterator(queries.end()));
  }
  if (was_empty) wake();
}

void Completions::drain(std::vector<Finished>* out) {
  // Cleared first: what comes in after the swap finds the queue empty and signals again.
  eventfd_t count = 0;
  (void)eventfd_read(fd_, &count);
  out->clear();
  const std::lock_guard lock(mutex_);
  queue_.swap(*out);
}

void Completions::wait(int timeout_ms) const {
  pollfd waited{.fd = fd_, .events = POLLIN, .revents = 0};
  (void)poll(&waited, 1, timeout_ms);
}

void Completions::wake() { (void)eventfd_write(fd_, 1); }

}  // namespace recstack
