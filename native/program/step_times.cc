#include "program/step_times.h"

namespace recstack {

StepTimes::StepTimes(std::shared_ptr<const Program> program)
    : program_(std::move(program)), times_(std::make_shared<StepNanoseconds>()) {
  clear();
}

void StepTimes::clear() {
  times_->user.steps_ns.assign(program_->user_steps().size(), 0);
  times_->item.steps_ns.assign(program_->item_steps().size(), 0);
}

}  // namespace recstack
