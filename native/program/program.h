// A program: the flat list of steps that a plan became, with its packed weights. Read-only once
// built, so any number of executors in any threads share one.
#pragma once

#include <memory>
#include <vector>

#include "program/factory.h"
#include "program/step.h"

namespace recstack {

struct StepNanoseconds;  // step_times.h

// What a program needs beyond its steps.
struct ProgramSpec {
  Isa isa = Isa::scalar;
  InputLayout layout;
  int64_t tile_rows = 64;   // rows, and queries, that a tile holds
  int64_t item_floats = 0;  // workspace floats per row
  int64_t user_floats = 0;  // workspace floats per query
};

class Program final : public ExecutorFactory, public std::enable_shared_from_this<Program> {
 public:
  // `owners` keep the constants and tables alive that steps point to.
  Program(ProgramSpec spec, const std::vector<StepSpec>& steps,
          std::vector<std::shared_ptr<void>> owners);
  Program(const Program&) = delete;

  std::unique_ptr<Executor> make() const override;
  // An executor that adds what each step spends to `times`.
  std::unique_ptr<Executor> make_timed(std::shared_ptr<StepNanoseconds> times) const;
  const InputLayout& layout() const override { return spec_.layout; }

  const ProgramSpec& spec() const { return spec_; }
  const Kernels& kernels() const { return kernels_; }
  const std::vector<StepPtr>& user_steps() const { return user_steps_; }
  const std::vector<StepPtr>& item_steps() const { return item_steps_; }
  // Floats of the packed weights whose steps divide.
  int64_t shared_floats() const { return shared_floats_; }

 private:
  ProgramSpec spec_;
  Kernels kernels_;
  Arena weights_;
  std::vector<StepPtr> user_steps_;
  std::vector<StepPtr> item_steps_;
  int64_t shared_floats_ = 0;
  std::vector<std::shared_ptr<void>> owners_;
};

}  // namespace recstack
