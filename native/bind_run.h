// A load test's run as Python starts it: holds the queries' arrays and the native run together.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <memory>
#include <utility>
#include <vector>

#include "bind_batch.h"
#include "dispatch/scheduled_run.h"

namespace recstack {

using Times = nb::ndarray<const int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using TimesOut = nb::ndarray<int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using StatusOut = nb::ndarray<uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using StagesOut = nb::ndarray<int64_t, nb::shape<-1, kStages>, nb::c_contig, nb::device::cpu>;

// Why a query failed, as Python takes it: (code, feature, entry, column, value, limit, text).
nb::tuple failure_tuple(const Status& status, const std::string& text);

class HeldRun {
 public:
  // `batches`: tuples (dense, user_dense, values, lengths, query_offsets, weights or None). Throws
  // nb::value_error when something does not fit.
  HeldRun(const InputLayout& layout, const nb::sequence& batches, IntVector which,
          Times scheduled_ns, int64_t deadline_ns, int64_t drain_ns, int64_t spin_ns,
          TimesOut issued_ns, TimesOut finished_ns, StatusOut status, StagesOut stages_ns);

  // Runs it from a thread of its own, without the GIL, to its end or to an interrupt (which is
  // thrown); returns (start_ns, [(query, failure)]). The record is not written after that.
  nb::tuple run(Dispatcher* dispatcher, int64_t lead_ns);

  bool idle() const { return run_->idle(); }

 private:
  std::vector<BatchArrays> arrays_;
  IntVector which_;
  Times scheduled_ns_;
  std::unique_ptr<ScheduledRun> run_;
};

}  // namespace recstack
