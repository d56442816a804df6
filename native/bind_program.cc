// Python's view of programs: built from plain tuples by recstack.engine.native.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <mutex>

#include "bind_numpy.h"
#include "program/program.h"
#include "program/step_times.h"
#include "program/team_executor.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace recstack {
namespace {

using Weight = nb::ndarray<const float, nb::c_contig, nb::device::cpu>;
// float32, or uint8: a table's rows in another format.
using StepWeight = nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu>;
// kind, offset, column, stride, constant
using OperandTuple = std::tuple<int, int64_t, int64_t, int64_t, std::optional<Weight>>;
// kind, user scope, operands, ints, floats, weights, turn
using StepTuple = std::tuple<std::string, bool, std::vector<OperandTuple>, std::vector<int64_t>,
                             std::vector<double>, std::vector<StepWeight>, int64_t>;

// Keeps a Python array alive from native code; lets go of it under the GIL.
template <class Array>
std::shared_ptr<void> owner_of(const Array& array) {
  return {new Array(array), [](void* held) {
            nb::gil_scoped_acquire gil;
            delete static_cast<Array*>(held);
          }};
}

StepSpec step_of(const StepTuple& given, std::vector<std::shared_ptr<void>>& owners) {
  const auto& [kind, user, operands, ints, floats, weights, turn] = given;
  StepSpec spec{.kind = kind,
                .scope = user ? Scope::user : Scope::item,
                .operands = {},
                .ints = ints,
                .floats = floats,
                .weights = {},
                .turn = turn};
  for (const auto& [operand_kind, offset, column, stride, constant] : operands) {
    Operand operand{static_cast<Operand::Kind>(operand_kind), offset, column, stride, nullptr};
    if (constant) {
      operand.data = constant->data();
      owners.push_back(owner_of(*constant));
    }
    spec.operands.push_back(operand);
  }
  for (const StepWeight& weight : weights) {
    const bool floats = weight.dtype() == nb::dtype<float>();
    if (!floats && weight.dtype() != nb::dtype<uint8_t>()) throw nb::type_error("no such weight");
    WeightView view{floats ? static_cast<const float*>(weight.data()) : nullptr, weight.data(), {}};
    for (size_t i = 0; i < weight.ndim(); ++i) view.shape.push_back(weight.shape(i));
    spec.weights.push_back(view);
    owners.push_back(owner_of(weight));
  }
  return spec;
}

std::shared_ptr<Program> make_program(const std::string& isa, const InputLayout& layout,
                                      int64_t tile_rows, int64_t item_floats, int64_t user_floats,
                                      const std::vector<StepTuple>& steps) {
  const std::optional<Isa> chosen = isa_from_name(isa);
  if (!chosen || !isa_supported(*chosen)) throw nb::value_error(("no " + isa).c_str());
  std::vector<std::shared_ptr<void>> owners;
  std::vector<StepSpec> specs;
  for (const StepTuple& step : steps) specs.push_back(step_of(step, owners));
  ProgramSpec spec{.isa = *chosen,
                   .layout = layout,
                   .tile_rows = tile_rows,
                   .item_floats = item_floats,
                   .user_floats = user_floats};
  return std::make_shared<Program>(std::move(spec), specs, std::move(owners));
}

// An executor for Python callers, who take turns.
struct Runner {
  explicit Runner(std::shared_ptr<const ExecutorFactory> made_by)
      : factory(std::move(made_by)), executor(factory->make()) {}
  std::shared_ptr<const ExecutorFactory> factory;
  std::unique_ptr<Executor> executor;
  std::mutex turn;
};

// The scores, in `out` where it is not None; None when the batch or `out` was refused.
nb::object run(Runner& runner, nb::handle dense, nb::handle user_dense, nb::handle values,
               nb::handle lengths, nb::handle query_offsets, nb::handle weights, nb::handle out) {
  const InputLayout& layout = runner.factory->layout();
  const std::optional<BatchView> view =
      view_of(dense, user_dense, values, lengths, query_offsets, weights, layout);
  if (!view) return nb::none();
  const nb::object scores =
      out.is_none() ? new_matrix(view->rows, layout.outputs) : nb::borrow(out);
  const NumpyArray into(scores);
  if (!into.holds<float>(2) || !into.writeable() || into.shape(0) != view->rows ||
      into.shape(1) != layout.outputs) {
    return nb::none();
  }
  Status status;
  {
    nb::gil_scoped_release release;
    std::lock_guard turn(runner.turn);
    status = runner.executor->run(*view, 0, view->rows, into.data<float>());
  }
  return status.ok() ? scores : nb::none();
}

}  // namespace

void bind_program(nb::module_& m) {
  import_numpy();
  m.def("instruction_sets", [] {
    std::vector<std::pair<std::string, bool>> sets;
    for (Isa isa : all_isas()) {
      sets.emplace_back(isa_name(isa), isa_supported(isa));
    }
    return sets;
  });

  nb::class_<InputLayout>(m, "InputLayout")
      .def(
          "__init__",
          [](InputLayout* self, const std::vector<bool>& user_features,
             const std::vector<int64_t>& fixed_lengths, int64_t dense_columns,
             int64_t user_dense_columns, int64_t outputs, bool weighted, bool finite) {
            std::vector<Scope> scopes;
            for (bool user : user_features) scopes.push_back(user ? Scope::user : Scope::item);
            new (self) InputLayout{scopes,  fixed_lengths, dense_columns, user_dense_columns,
                                   outputs, weighted,      finite};
          },
          "user_features"_a, "fixed_lengths"_a, "dense_columns"_a, "user_dense_columns"_a,
          "outputs"_a, "weighted"_a, "finite"_a = true);

  nb::class_<ExecutorFactory>(m, "ExecutorFactory");
  nb::class_<Program, ExecutorFactory>(m, "Program")
      .def(nb::new_(&make_program), "isa"_a, "layout"_a, "tile_rows"_a, "item_floats"_a,
           "user_floats"_a, "steps"_a);
  nb::class_<StepTimes, ExecutorFactory>(m, "StepTimes")
      .def(
          "__init__",
          [](StepTimes* self, std::shared_ptr<Program> program) {
            new (self) StepTimes(std::move(program));
          },
          "program"_a)
      // steps_ns of the user steps, and of the item steps
      .def("read",
           [](const StepTimes& self) {
             const auto& [user, item] = self.times();
             return std::make_pair(user.steps_ns, item.steps_ns);
           })
      .def("clear", &StepTimes::clear);
  nb::class_<TeamFactory, ExecutorFactory>(m, "TeamFactory")
      .def(
          "__init__",
          [](TeamFactory* self, std::shared_ptr<Program> program, int threads) {
            new (self) TeamFactory(std::move(program), threads);
          },
          "program"_a, "threads"_a);
  nb::class_<Runner>(m, "Runner")
      .def(
          "__init__",
          [](Runner* self, std::shared_ptr<ExecutorFactory> factory) {
            new (self) Runner(std::move(factory));
          },
          "factory"_a)
      .def("run", &run, "dense"_a, "user_dense"_a, "values"_a, "lengths"_a, "query_offsets"_a,
           "weights"_a.none(), "out"_a.none());
}

}  // namespace recstack
