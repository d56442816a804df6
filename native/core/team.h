// A team of threads that runs one job at a time, in as many parts as it has members.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace recstack {

class Team {
 public:
  // `members` counts the calling thread, which takes part 0.
  explicit Team(int members);
  ~Team();
  Team(const Team&) = delete;

  int members() const { return static_cast<int>(threads_.size()) + 1; }

  // Calls job(part) for every part in [0, members) at once; returns when all have returned. Jobs
  // must not throw. One caller at a time.
  void run(const std::function<void(int)>& job);

 private:
  void work(int part);

  std::mutex mutex_;
  std::condition_variable start_;
  std::condition_variable done_;
  const std::function<void(int)>* job_ = nullptr;
  uint64_t round_ = 0;
  std::atomic<uint64_t> round_hint_{0};
  std::atomic<int> running_{0};
  bool closing_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace recstack
