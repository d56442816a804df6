// A load test's run as Python starts it: what runs in process and over HTTP share, and the one in
// process, which holds the queries' arrays and the native run together.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <chrono>
#include <future>
#include <memory>
#include <utility>
#include <vector>

#include "bind_batch.h"
#include "dispatch/scheduled_run.h"

namespace recstack {

inline constexpr std::chrono::milliseconds kSignalLook{50};

using Times = nb::ndarray<const int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using TimesOut = nb::ndarray<int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using StatusOut = nb::ndarray<uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using StagesOut = nb::ndarray<int64_t, nb::shape<-1, kStages>, nb::c_contig, nb::device::cpu>;

// Throws nb::value_error unless `which` names some of `count` batches, one per scheduled time, and
// times ascend.
void check_schedule(const IntVector& which, const Times& scheduled_ns, size_t count);

// Calls `run` in a thread of its own, without the GIL. An interrupt calls `stop`, which makes it
// return soon, and is thrown then. Returns, or throws, what `run` does.
template <class Run, class Stop>
auto run_interruptibly(Run run, Stop stop) {
  std::future<decltype(run())> running;
  bool interrupted = false;
  {
    nb::gil_scoped_release release;
    running = std::async(std::launch::async, run);
    while (!interrupted && running.wait_for(kSignalLook) != std::future_status::ready) {
      nb::gil_scoped_acquire acquire;
      interrupted = PyErr_CheckSignals() != 0;
    }
    if (interrupted) stop();
    running.wait();
  }
  if (interrupted) throw nb::python_error();
  return running.get();
}

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
