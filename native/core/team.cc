#include "core/team.h"

#include <chrono>

namespace recstack {
namespace {

// Between jobs: one batch is often shorter than waking a thread.
constexpr auto kSpin = std::chrono::microseconds(50);

// Returns when `value` is no longer `old`: spins first, then sleeps. Between looks it yields, lest
// it keeps from its core the very thread that it waits for.
void wait_while(std::atomic<uint32_t>& value, uint32_t old) {
  const auto until = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < 64; ++i) {
      if (value.load(std::memory_order_acquire) != old) return;
#if defined(__x86_64__)
      __builtin_ia32_pause();
#endif
    }
    std::this_thread::yield();
  } while (std::chrono::steady_clock::now() < until);
  value.wait(old, std::memory_order_acquire);
}

}  // namespace

Team::Team(int members) {
  try {
    for (int part = 1; part < members; ++part) threads_.emplace_back(&Team::work, this, part);
  } catch (...) {  // the system has no more threads: those that run would end the process
    close();
    throw;
  }
}

Team::~Team() { close(); }

void Team::close() {
  call_ = nullptr;
  round_.fetch_add(1, std::memory_order_release);
  round_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Team::run(Call call, const void* job) {
  if (threads_.empty()) return call(job, 0);
  call_ = call;
  job_ = job;
  running_.store(static_cast<uint32_t>(threads_.size()), std::memory_order_relaxed);
  round_.fetch_add(1, std::memory_order_release);
  round_.notify_all();
  call(job, 0);
  for (uint32_t left; (left = running_.load(std::memory_order_acquire)) != 0;) {
    wait_while(running_, left);
  }
}

void Team::work(int part) {
  for (uint32_t seen = 0;; ++seen) {
    wait_while(round_, seen);
    if (call_ == nullptr) return;
    call_(job_, part);
    running_.fetch_sub(1, std::memory_order_release);
    running_.notify_one();
  }
}

void Barrier::arrive_and_wait() {
  const uint32_t phase = phase_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == members_) {
    arrived_.store(0, std::memory_order_relaxed);
    phase_.fetch_add(1, std::memory_order_release);
    phase_.notify_all();
  } else {
    wait_while(phase_, phase);
  }
}

}  // namespace recstack
