// Executors that run one batch over several threads, by rows.
#pragma once

#include <memory>

#include "program/factory.h"

namespace recstack {

// Makes executors that share each run's rows among `threads` threads, the caller's among them, each
// with an executor of `factory`.
class TeamFactory final : public ExecutorFactory {
 public:
  TeamFactory(std::shared_ptr<const ExecutorFactory> factory, int threads)
      : factory_(std::move(factory)), threads_(threads) {}

  std::unique_ptr<Executor> make() const override;
  const InputLayout& layout() const override { return factory_->layout(); }

 private:
  std::shared_ptr<const ExecutorFactory> factory_;
  int threads_;
};

}  // namespace recstack
