// A team of threads that runs one job at a time, in as many parts as it has members. Members spin
// for some microseconds between jobs, then sleep.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace recstack {

class Team {
 public:
  // `members` counts the calling thread, which takes part 0. Throws std::system_error when the
  // system has no more threads.
  explicit Team(int members);
  ~Team();
  Team(const Team&) = delete;

  int members() const { return static_cast<int>(threads_.size()) + 1; }

  // Calls job(part) for every part in [0, members) at once; returns when all have returned. Jobs
  // must not throw. One caller at a time.
  template <typename Job>
  void run(const Job& job) {
    run([](const void* given, int part) { (*static_cast<const Job*>(given))(part); }, &job);
  }

 private:
  using Call = void (*)(const void* job, int part);

  void run(Call call, const void* job);
  void work(int part);
  void close();

  Call call_ = nullptr;  // null: the team closes
  const void* job_ = nullptr;
  std::atomic<uint32_t> round_{0};
  std::atomic<uint32_t> running_{0};
  std::vector<std::thread> threads_;
};

// Lets `members` threads of a team wait for each other, again and again.
class Barrier {
 public:
  explicit Barrier(int members) : members_(static_cast<uint32_t>(members)) {}

  void arrive_and_wait();

 private:
  const uint32_t members_;
  std::atomic<uint32_t> arrived_{0};
  std::atomic<uint32_t> phase_{0};
};

}  // namespace recstack
