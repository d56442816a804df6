// Where the time of a program's runs goes, step by step.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

#include "program/factory.h"
#include "program/program.h"

namespace recstack {

// Nanoseconds of wall time, summed over tiles since the last clear. A reading of the clock, some 25
// ns, ends each step, so a step of less than that is told only roughly.
struct StepNanoseconds {
  struct Scoped {
    std::vector<int64_t> steps_ns;  // in the program's order of this scope's steps

    Status run(const std::vector<StepPtr>& steps, const Context& context) {
      int64_t last = now();
      for (size_t i = 0; i < steps.size(); ++i) {
        if (Status s = steps[i]->run(context); !s.ok()) return s;
        steps_ns[i] += lap(last);
      }
      return {};
    }

   private:
    static int64_t now() {
      const auto since = std::chrono::steady_clock::now().time_since_epoch();
      return std::chrono::duration_cast<std::chrono::nanoseconds>(since).count();
    }
    static int64_t lap(int64_t& last) {
      const int64_t before = last;
      last = now();
      return last - before;
    }
  };
  Scoped user;
  Scoped item;
};

// Makes executors of a program that add their time here. They run one at a time: executors in
// several threads would write the same counters.
class StepTimes final : public ExecutorFactory {
 public:
  explicit StepTimes(std::shared_ptr<const Program> program);

  std::unique_ptr<Executor> make() const override { return program_->make_timed(times_); }
  const InputLayout& layout() const override { return program_->layout(); }

  const StepNanoseconds& times() const { return *times_; }
  void clear();

 private:
  std::shared_ptr<const Program> program_;
  std::shared_ptr<StepNanoseconds> times_;
};

}  // namespace recstack
