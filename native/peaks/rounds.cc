#include "peaks/rounds.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <future>
#include <limits>
#include <stdexcept>
#include <string>

#include "core/affinity.h"
#include "core/team.h"

namespace recstack {
namespace {

constexpr int kLeastRounds = 2;

int64_t now_ns() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
}

// Threads that leave it do so within nanoseconds of each other, if all are running.
class Gate {
 public:
  explicit Gate(int members) : members_(members) {}

  void pass() {
    const uint64_t turn = turn_.load();
    if (arrived_.fetch_add(1) + 1 == members_) {
      arrived_.store(0);
      turn_.fetch_add(1);
      return;
    }
    while (turn_.load() == turn) {
#if defined(__x86_64__)
      __builtin_ia32_pause();
#endif
    }
  }

 private:
  const int members_;
  std::atomic<int> arrived_{0};
  std::atomic<uint64_t> turn_{0};
};

class Crew {
 public:
  explicit Crew(const std::vector<int>& cores)
      : team_(static_cast<int>(cores.size())), gate_(team_.members()), spans_(cores.size()) {
    std::vector<std::string> errors(cores.size());
    team_.run([&](int part) { errors[part] = pin_this_thread({cores[part]}); });
    for (const std::string& error : errors) {
      if (!error.empty()) throw std::runtime_error(error);
    }
  }

  int64_t round_ns(const Contender& contender) {
    team_.run([&](int part) {
      if (contender.prepare) contender.prepare(part);
      gate_.pass();
      spans_[part].begin = now_ns();
      contender.work(part);
      spans_[part].end = now_ns();
    });
    int64_t begin = std::numeric_limits<int64_t>::max(), end = 0;
    for (const Span& span : spans_) {
      begin = std::min(begin, span.begin);
      end = std::max(end, span.end);
    }
    return std::max<int64_t>(end - begin, 1);
  }

 private:
  struct alignas(64) Span {
    int64_t begin, end;
  };
  Team team_;
  Gate gate_;
  std::vector<Span> spans_;
};

}  // namespace

std::vector<int64_t> fastest_ns(const std::vector<int>& cores, int64_t budget_ns,
                                const std::vector<Contender>& contenders) {
  // A thread of its own: the caller's affinity stays as it was.
  return std::async(std::launch::async,
                    [&] {
                      Crew crew(cores);
                      std::vector<int64_t> best(contenders.size(),
                                                std::numeric_limits<int64_t>::max());
                      const int64_t until = now_ns() + budget_ns;
                      for (int round = 0; round < kLeastRounds || now_ns() < until; ++round) {
                        for (size_t i = 0; i < contenders.size(); ++i) {
                          best[i] = std::min(best[i], crew.round_ns(contenders[i]));
                        }
                      }
                      return best;
                    })
      .get();
}

}  // namespace recstack
