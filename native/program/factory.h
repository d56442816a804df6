// Makes executors: what the dispatcher needs of a program, one executor per lane.
#pragma once

#include <memory>

#include "program/executor.h"
#include "program/layout.h"

namespace recstack {

class ExecutorFactory {
 public:
  virtual ~ExecutorFactory() = default;

  // A new executor that keeps alive whatever it shares with this factory.
  virtual std::unique_ptr<Executor> make() const = 0;
  virtual const InputLayout& layout() const = 0;
};

}  // namespace recstack
