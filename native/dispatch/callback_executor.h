// An executor that is not native: its failures have words of their own.
#pragma once

#include <string>

#include "program/executor.h"

namespace recstack {

class CallbackExecutor : public Executor {
 public:
  // What went wrong in the last run that returned Status::Code::callback_failed or _refused.
  virtual std::string error() const = 0;
};

}  // namespace recstack
