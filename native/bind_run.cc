#include "bind_run.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <optional>
#include <string>

namespace recstack {
namespace {

BatchArrays arrays_of(const nb::tuple& t) {
  return {nb::cast<FloatMatrix>(t[0], false), nb::cast<FloatMatrix>(t[1], false),
          nb::cast<Indices>(t[2], false),     nb::cast<IntArray>(t[3], false),
          nb::cast<IntVector>(t[4], false),   nb::cast<std::optional<FloatVector>>(t[5], false)};
}

}  // namespace

void check_schedule(const IntVector& which, const Times& scheduled_ns, size_t count) {
  if (which.shape(0) != scheduled_ns.shape(0)) {
    throw nb::value_error("expected arrays of one length");
  }
  for (size_t i = 0; i < which.shape(0); ++i) {
    if (which(i) < 0 || which(i) >= static_cast<int64_t>(count)) {
      throw nb::value_error("expected `which` to name batches");
    }
    if (scheduled_ns(i) < (i > 0 ? scheduled_ns(i - 1) : 0)) {
      throw nb::value_error("expected scheduled_ns that ascend from 0 or more");
    }
  }
}

nb::tuple failure_tuple(const Status& s, const std::string& text) {
  return nb::make_tuple(static_cast<int>(s.code), s.feature, s.entry, s.column, s.value, s.limit,
                        text);
}

HeldRun::HeldRun(const InputLayout& layout, const nb::sequence& batches, IntVector which,
                 Times scheduled_ns, int64_t deadline_ns, int64_t drain_ns, int64_t spin_ns,
                 TimesOut issued_ns, TimesOut finished_ns, StatusOut status, StagesOut stages_ns)
    : which_(std::move(which)), scheduled_ns_(std::move(scheduled_ns)) {
  const size_t n = scheduled_ns_.shape(0);
  if (issued_ns.shape(0) != n || finished_ns.shape(0) != n || status.shape(0) != n ||
      stages_ns.shape(0) != n) {
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
  check_schedule(which_, scheduled_ns_, plan.batches.size());
  run_ =
      std::make_unique<ScheduledRun>(std::move(plan), RunRecord{.issued_ns = issued_ns.data(),
                                                                .finished_ns = finished_ns.data(),
                                                                .status = status.data(),
                                                                .stages_ns = stages_ns.data()});
}

nb::tuple HeldRun::run(Dispatcher* dispatcher, int64_t lead_ns) {
  const int64_t start_ns = now_ns() + lead_ns;
  run_interruptibly([&] { run_->run(dispatcher, start_ns); }, [&] { run_->stop(); });
  nb::list failures;
  for (const RunFailure& f : run_->failures()) {
    failures.append(nb::make_tuple(f.query, failure_tuple(f.status, f.text)));
  }
  return nb::make_tuple(start_ns, failures);
}

}  // namespace recstack
