// Finished queries on their way to one reader: many producers, an eventfd that says "not empty".
//
// The descriptor is readable while something may be waiting; it is written only when the queue was
// empty, so a burst costs one system call. The reader waits on it (poll, an event loop) and drains.
#pragma once

#include <mutex>
#include <vector>

#include "dispatch/outcome.h"

namespace recstack {

class Completions final : public Sink {
 public:
  Completions();  // throws std::system_error when there is no descriptor left
  ~Completions() override;
  Completions(const Completions&) = delete;
  Completions& operator=(const Completions&) = delete;

  void finished(std::span<Finished> queries) override;

  // Moves all that waits into `out`, whose old content goes.
  void drain(std::vector<Finished>* out);

  // Returns when something may wait, after `timeout_ms`, or when interrupted; -1: no timeout.
  void wait(int timeout_ms) const;
  // Ends a wait that has nothing to wait for.
  void wake();

  int fd() const { return fd_; }

 private:
  const int fd_;
  std::mutex mutex_;
  std::vector<Finished> queue_;
};

}  // namespace recstack
