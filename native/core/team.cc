#include "core/team.h"

#include <chrono>

namespace recstack {
namespace {

// Waits up to about 20 us for `ready` before the caller parks: one batch is often shorter.
template <typename Ready>
bool spin(Ready ready) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(20);
  do {
    for (int i = 0; i < 64; ++i) {
      if (ready()) return true;
#if defined(__x86_64__)
      __builtin_ia32_pause();
#endif
    }
  } while (std::chrono::steady_clock::now() < until);
  return ready();
}

}  // namespace

Team::Team(int members) {
  for (int part = 1; part < members; ++part) threads_.emplace_back(&Team::work, this, part);
}

Team::~Team() {
  {
    std::lock_guard lock(mutex_);
    closing_ = true;
    round_hint_.store(++round_);
  }
  start_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Team::run(const std::function<void(int)>& job) {
  if (threads_.empty()) return job(0);
  {
    std::lock_guard lock(mutex_);
    job_ = &job;
    running_.store(static_cast<int>(threads_.size()));
    round_hint_.store(++round_);
  }
  start_.notify_all();
  job(0);
  if (!spin([this] { return running_.load() == 0; })) {
    std::unique_lock lock(mutex_);
    done_.wait(lock, [this] { return running_.load() == 0; });
  }
}

void Team::work(int part) {
  uint64_t seen = 0;
  for (;;) {
    spin([&] { return round_hint_.load() != seen; });
    const std::function<void(int)>* job;
    {
      std::unique_lock lock(mutex_);
      start_.wait(lock, [&] { return round_ != seen; });
      seen = round_;
      if (closing_) return;
      job = job_;
    }
    (*job)(part);
    if (running_.fetch_sub(1) == 1) {
      std::lock_guard lock(mutex_);
      done_.notify_one();
    }
  }
}

}  // namespace recstack
