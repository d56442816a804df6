// Executors written in Python: torch, a table of service times, fakes for tests.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/shared_ptr.h>

#include <cstring>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include "dispatch/callback_executor.h"
#include "program/factory.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace recstack {
namespace {

using Scores = nb::ndarray<const float, nb::c_contig, nb::device::cpu>;

// Shared by all lanes, of which any may be the last to let go, with or without the GIL.
std::shared_ptr<nb::callable> shared_callable(nb::callable callable) {
  return {new nb::callable(std::move(callable)), [](nb::callable* held) {
            nb::gil_scoped_acquire gil;
            delete held;
          }};
}

template <typename T>
nb::object view(const T* data, std::initializer_list<size_t> shape) {
  static const T nothing{};  // NumPy wants an address even for no elements
  nb::ndarray<nb::numpy, const T> array(data == nullptr ? &nothing : data, shape);
  return nb::cast(array, nb::rv_policy::reference);
}

class PythonExecutor final : public CallbackExecutor {
 public:
  PythonExecutor(std::shared_ptr<nb::callable> callable, const InputLayout& layout)
      : callable_(std::move(callable)), layout_(layout) {}

  Status run(const BatchView& batch, int64_t row_begin, int64_t row_end, float* out) override {
    nb::gil_scoped_acquire gil;
    Status failed;
    failed.code = Status::Code::callback_failed;
    try {
      if (!callable_->is_valid()) throw std::runtime_error("the executor was garbage collected");
      const nb::object result = call(batch, row_begin, row_end);
      const auto scores = nb::cast<Scores>(result, false);
      const size_t want = static_cast<size_t>((row_end - row_begin) * layout_.outputs);
      if (scores.size() == want) {
        if (want > 0) std::memcpy(out, scores.data(), want * sizeof(float));
        return {};
      }
      error_ = "expected " + std::to_string(want) + " scores, got " + std::to_string(scores.size());
    } catch (const nb::cast_error&) {
      error_ = "expected scores as a C-contiguous float32 array";
    } catch (const nb::python_error& error) {
      error_ = error.what();
      if (error.matches(nb::module_::import_("recstack.errors").attr("BatchError"))) {
        failed.code = Status::Code::callback_refused;
      }
    } catch (const std::exception& error) {
      error_ = error.what();
    }
    return failed;
  }

  std::string error() const override { return error_; }

 private:
  nb::object call(const BatchView& batch, int64_t row_begin, int64_t row_end) {
    const auto rows = static_cast<size_t>(batch.rows);
    const auto queries = static_cast<size_t>(batch.queries);
    const auto nnz = static_cast<size_t>(batch.nnz);
    size_t bags = 0;
    for (const Scope scope : layout_.features) bags += scope == Scope::user ? queries : rows;
    const nb::object values = batch.index_type == IndexType::int32
                                  ? view(static_cast<const int32_t*>(batch.values), {nnz})
                                  : view(static_cast<const int64_t*>(batch.values), {nnz});
    const auto dense_columns = static_cast<size_t>(layout_.dense_columns);
    const auto user_dense_columns = static_cast<size_t>(layout_.user_dense_columns);
    return (*callable_)(view(batch.dense, {rows, dense_columns}),
                        view(batch.user_dense, {queries, user_dense_columns}), values,
                        view(batch.lengths, {bags}), view(batch.query_offsets, {queries + 1}),
                        layout_.weighted ? view(batch.weights, {nnz}) : nb::none(), row_begin,
                        row_end);
  }

  std::shared_ptr<nb::callable> callable_;
  InputLayout layout_;
  std::string error_;
};

class PythonExecutorFactory final : public ExecutorFactory {
 public:
  PythonExecutorFactory(nb::callable callable, const InputLayout& layout)
      : callable_(shared_callable(std::move(callable))), layout_(layout) {}

  std::unique_ptr<Executor> make() const override {
    return std::make_unique<PythonExecutor>(callable_, layout_);
  }
  const InputLayout& layout() const override { return layout_; }

  // Shared with the executors, which own no reference of their own.
  nb::callable& callable() { return *callable_; }

 private:
  std::shared_ptr<nb::callable> callable_;
  InputLayout layout_;
};

// A callable often leads back to whoever holds the factory, so the garbage collector must see it.
int traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  if (!nb::inst_ready(self)) return 0;
  Py_VISIT(nb::inst_ptr<PythonExecutorFactory>(self)->callable().ptr());
  return 0;
}

int clear(PyObject* self) {
  nb::callable dropped = std::move(nb::inst_ptr<PythonExecutorFactory>(self)->callable());
  return 0;
}

PyType_Slot slots[] = {{Py_tp_traverse, reinterpret_cast<void*>(traverse)},
                       {Py_tp_clear, reinterpret_cast<void*>(clear)},
                       {0, nullptr}};

}  // namespace

void bind_executor(nb::module_& m) {
  nb::class_<PythonExecutorFactory, ExecutorFactory>(
      m, "PythonExecutorFactory", nb::type_slots(slots),
      "Makes executors that call `run(dense, user_dense, values, lengths, query_offsets, weights,\n"
      "row_begin, row_end)`, which returns the scores of these rows, (row_end - row_begin,\n"
      "outputs) float32. The arrays are read-only views, valid only during the call; `lengths` is\n"
      "flat. An exception fails the query and its text is kept; with another than a BatchError "
      "the\n"
      "executor is to blame, and its lane goes out of service after a few in a row. Lanes take\n"
      "turns under the GIL.")
      .def(nb::init<nb::callable, const InputLayout&>(), "run"_a, "layout"_a);
}

}  // namespace recstack
