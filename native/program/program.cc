#include "program/program.h"

#include <stdexcept>

#include "program/tile_runner.h"

namespace recstack {
namespace {

size_t total_arena_floats(const std::vector<StepSpec>& steps, const Kernels& kernels) {
  size_t floats = 0;
  for (const StepSpec& step : steps) floats += arena_floats(step, kernels);
  return floats;
}

}  // namespace

Program::Program(ProgramSpec spec, const std::vector<StepSpec>& steps,
                 std::vector<std::shared_ptr<void>> owners)
    : spec_(std::move(spec)),
      kernels_(spec_.isa),
      weights_(total_arena_floats(steps, kernels_)),
      owners_(std::move(owners)) {
  for (const StepSpec& step : steps) {
    StepPtr made = make_step(step, {kernels_, weights_});
    if (!made) throw std::invalid_argument("unknown step kind '" + step.kind + "'");
    made->turn = step.turn;
    if (made->divides()) shared_floats_ += made->packed_floats();
    (step.scope == Scope::user ? user_steps_ : item_steps_).push_back(std::move(made));
  }
}

std::unique_ptr<Executor> Program::make() const {
  return std::make_unique<TileRunner>(shared_from_this());
}

std::unique_ptr<Executor> Program::make_timed(std::shared_ptr<StepNanoseconds> times) const {
  return std::make_unique<TileRunner>(shared_from_this(), std::move(times));
}

}  // namespace recstack
