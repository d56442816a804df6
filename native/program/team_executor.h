// Executors that run one batch over several threads.
#pragma once

#include <memory>

#include "program/program.h"

namespace recstack {

// Makes executors that share each run among `threads` threads, the caller's among them: by rows,
// or, where rows are too few, each step by its tables or output columns, branches alike by turns.
class TeamFactory final : public ExecutorFactory {
 public:
  TeamFactory(std::shared_ptr<const Program> program, int threads)
      : program_(std::move(program)), threads_(threads) {}

  std::unique_ptr<Executor> make() const override;
  const InputLayout& layout() const override { return program_->layout(); }

 private:
  std::shared_ptr<const Program> program_;
  int threads_;
};

}  // namespace recstack
