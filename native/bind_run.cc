#include "bind_run.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <optional>
#include <string>
#include <thread>

namespace recstack {
namespace {

constexpr int64_t kSignalLookNs = 50'000'000;

BatchArrays arrays_of(const nb::tuple& t) {
  return {nb::cast<FloatMatrix>(t[0], false), nb::cast<FloatMatrix>(t[1], false),
          nb::cast<Indices>(t[2], false),     nb::cast<IntArray>(t[3], false),
          nb::cast<IntVector>(t[4], false),   nb::cast<std::optional<FloatVector>>(t[5], false)};
}

void check_plan(const RunPlan& plan) {
  for (int64_t i = 0; i < plan.queries; ++i) {
    if (plan.which[i] < 0 || plan.which[i] >= static_cast<int64_t>(plan.batches.size())) {
      throw nb::value_error("expected `which` to name batches");
    }
    if (plan.scheduled_ns[i] < (i > 0 ? plan.scheduled_ns[i - 1] : 0)) {
      throw nb::value_error("expected scheduled_ns that ascend from 0 or more");
    }
  }
}

}  // namespace

nb::tuple failure_tuple(const Status& s, const std::string& text) {
  return nb::make_tuple(static_cast<int>(s.code), s.feature, s.entry, s.column, s.value, s.limit,
                        text);
}

HeldRun::HeldRun(const InputLayout& layout, const nb::sequence& batches, IntVector which,
                 Times scheduled_ns, int64_t deadline_ns, int64_t drain_ns, int64_t spin_ns,
                 TimesOut issued_ns, TimesOut finished_ns, StatusOut status, StagesOut stages_ns)
    : which_(std::move(which)), scheduled_ns_(std::move(scheduled_ns)) {
  const size_t n = scheduled_ns_.shape(0);
  if (which_.shape(0) != n || issued_ns.shape(0) != n || finished_ns.shape(0) != n ||
      status.shape(0) != n || stages_ns.shape(0) != n) {
    throw nb::value_error("expected arrays of one length");
  }
  RunPlan plan{.queries = static_cast<int64_t>(n),
               .scheduled_ns = scheduled_ns_.data(),
               .which = which_.data(),
               .batches = {},
               .outputs = layout.outputs,
               .deadline_ns = deadline_ns < 0 ? kNever : deadline_ns,
               .drain_ns = drain_ns,
               .spin_ns = spin_ns};
  for (nb::handle batch : batches) {
    std::optional<BatchView> view;
    try {
      arrays_.push_back(arrays_of(nb::cast<nb::tuple>(batch)));
      view = view_of(arrays_.back(), layout);
    } catch (const nb::cast_error&) {
    }
    if (!view) {
      const std::string at = std::to_string(plan.batches.size());
      throw nb::value_error(("batch " + at + " does not fit the input layout").c_str());
    }
    plan.batches.push_back(*view);
  }
  check_plan(plan);
  run_ =
      std::make_unique<ScheduledRun>(std::move(plan), RunRecord{.issued_ns = issued_ns.data(),
                                                                .finished_ns = finished_ns.data(),
                                                                .status = status.data(),
                                                                .stages_ns = stages_ns.data()});
}

nb::tuple HeldRun::run(Dispatcher* dispatcher, int64_t lead_ns) {
  const int64_t start_ns = now_ns() + lead_ns;
  bool interrupted = false;
  {
    nb::gil_scoped_release release;
    std::thread issuing([&] { run_->run(dispatcher, start_ns); });
    while (!run_->wait_ns(kSignalLookNs)) {
      nb::gil_scoped_acquire acquire;
      if (PyErr_CheckSignals() != 0) {
        interrupted = true;
        break;
      }
    }
    if (interrupted) run_->stop();
    issuing.join();
  }
  if (interrupted) throw nb::python_error();
  nb::list failures;
  for (const RunFailure& f : run_->failures()) {
    failures.append(nb::make_tuple(f.query, failure_tuple(f.status, f.text)));
  }
  return nb::make_tuple(start_ns, failures);
}

}  // namespace recstack
