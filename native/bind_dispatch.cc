// Python's view of the dispatcher and its histograms.
//
// Arrays of a query stay referenced here until its completion was drained. Lanes never touch Python
// but in a PythonExecutor; what they finish waits in a queue with a descriptor (completions.h).
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "bind_batch.h"
#include "bind_run.h"
#include "dispatch/completions.h"
#include "dispatch/dispatcher.h"
#include "dispatch/policy.h"
#include "program/factory.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace recstack {

void bind_executor(nb::module_& m);
void bind_policy(nb::module_& m);

namespace {

using Factories = std::vector<std::shared_ptr<ExecutorFactory>>;
using Scores = nb::ndarray<float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

constexpr std::array<const char*, 5> kOutcomes = {"ok", "queue_full", "deadline", "shutting_down",
                                                  "error"};

std::vector<LaneOptions> make_lanes(const Factories& factories,
                                    const std::vector<std::vector<int>>& cores,
                                    const std::vector<int32_t>& kinds) {
  if (factories.empty()) throw nb::value_error("expected at least one executor");
  if (cores.size() != factories.size()) throw nb::value_error("expected one core set per lane");
  const InputLayout& layout = factories[0]->layout();
  std::vector<LaneOptions> lanes;
  for (size_t i = 0; i < factories.size(); ++i) {
    const InputLayout& other = factories[i]->layout();
    if (other.features != layout.features || other.fixed_lengths != layout.fixed_lengths ||
        other.dense_columns != layout.dense_columns || other.weighted != layout.weighted ||
        other.user_dense_columns != layout.user_dense_columns || other.outputs != layout.outputs) {
      throw nb::value_error("expected executors of one input layout");
    }
    lanes.push_back({[factory = factories[i]] { return factory->make(); }, cores[i],
                     kinds.empty() ? 0 : kinds[i]});
  }
  return lanes;
}

void check_kinds(const Policy& policy, Costs costs, const std::vector<int32_t>& kinds,
                 size_t lanes) {
  if (policy.needs_costs() && costs.empty()) {
    throw nb::value_error("expected a cost curve: this policy predicts");
  }
  if (!kinds.empty() && kinds.size() != lanes) throw nb::value_error("expected a kind per lane");
  for (const int32_t kind : kinds) {
    const bool known = costs.empty() || kind < static_cast<int32_t>(costs.size());
    if (kind < 0 || !known) throw nb::value_error("expected kinds that have a cost curve");
  }
}

nb::object failure_of(const Finished& query) {
  if (query.outcome != Outcome::error) return nb::none();
  return failure_tuple(query.status, query.error);
}

class PyDispatcher {
 public:
  PyDispatcher(const Factories& factories, const std::vector<std::vector<int>>& cores,
               const std::vector<int32_t>& kinds, std::shared_ptr<Policy> policy,
               const DispatcherOptions& options)
      : factories_(factories),
        dispatcher_(start(make_lanes(factories, cores, kinds), std::move(policy), options)) {}

  ~PyDispatcher() {
    if (forked()) (void)dispatcher_.release();
    close(false);
  }

  const char* submit(int64_t id, FloatMatrix dense, FloatMatrix user_dense, Indices values,
                     IntArray lengths, IntVector query_offsets, std::optional<FloatVector> weights,
                     Scores out, int64_t deadline_ns) {
    Held held{id, {dense, user_dense, values, lengths, query_offsets, weights}, out};
    const std::optional<BatchView> view = view_of(held.arrays, layout());
    if (!view) throw nb::value_error("the batch does not fit the input layout");
    if (static_cast<int64_t>(out.shape(0)) != view->rows ||
        static_cast<int64_t>(out.shape(1)) != layout().outputs || !aligned(out)) {
      throw nb::value_error("expected an aligned out of shape (rows, outputs)");
    }
    const uint64_t tag = hold(std::move(held));
    const Outcome outcome =
        dispatcher_->submit({.tag = tag,
                             .batch = *view,
                             .out = out.data(),
                             .deadline_ns = deadline_ns < 0 ? kNever : deadline_ns});
    if (outcome != Outcome::ok) release(tag);
    return kOutcomes[static_cast<size_t>(outcome)];
  }

  nb::list drain() {
    // Taken out for the time of this call: Python code may run in it and drain again.
    std::vector<Finished> drained = std::exchange(spare_, {});
    completions_.drain(&drained);
    nb::list out;
    for (const Finished& query : drained) {
      const int64_t id = query.held ? held_[query.tag]->id : release(query.tag);
      if (query.told) continue;
      const auto& ns = query.stages_ns;
      out.append(nb::make_tuple(id, kOutcomes[static_cast<size_t>(query.outcome)], query.finish_ns,
                                nb::make_tuple(ns[0], ns[1], ns[2], ns[3], ns[4]),
                                failure_of(query)));
    }
    spare_ = std::move(drained);
    return out;
  }

  nb::tuple run_schedule(const nb::sequence& batches, IntVector which, Times scheduled_ns,
                         int64_t lead_ns, int64_t deadline_ns, int64_t drain_ns, int64_t spin_ns,
                         TimesOut issued_ns, TimesOut finished_ns, StatusOut status,
                         StagesOut stages_ns) {
    // A run that gave up waiting is kept until the lanes have let go of its queries.
    std::erase_if(runs_, [](const auto& run) { return run->idle(); });
    const auto run =
        std::make_shared<HeldRun>(layout(), batches, std::move(which), std::move(scheduled_ns),
                                  deadline_ns, drain_ns, spin_ns, std::move(issued_ns),
                                  std::move(finished_ns), std::move(status), std::move(stages_ns));
    runs_.push_back(run);
    return run->run(dispatcher_.get(), lead_ns);
  }

  void wait(int timeout_ms) {
    nb::gil_scoped_release release;
    completions_.wait(timeout_ms);
  }

  void close(bool drain) {
    if (forked()) return;
    nb::gil_scoped_release release;
    dispatcher_->shutdown(drain);
    completions_.wake();
  }

  nb::dict stats() const {
    const Counters c = dispatcher_->counters();
    nb::dict counters, stages, out;
    const std::pair<const char*, int64_t> counts[] = {
        {"accepted", c.accepted},
        {"completed", c.completed},
        {"failed", c.failed},
        {"queue_full", c.queue_full},
        {"deadline", c.deadline},
        {"early", c.early},
        {"shutting_down", c.shutting_down},
        {"rows", c.rows},
        {"busy_ns", c.busy_ns},
        {"batches", c.batches},
        {"merged_batches", c.merged_batches},
        {"split_queries", c.split_queries},
        {"waiting_queries", c.waiting_queries},
        {"waiting_rows", c.waiting_rows},
        {"busy_lanes", c.busy_lanes},
        {"lanes_out", c.lanes_out},
        {"lane_outages", c.lane_outages},
    };
    for (const auto& [name, count] : counts) counters[name] = count;
    for (int s = 0; s < kStages; ++s) {
      stages[kStageNames[s]] = dispatcher_->stage(static_cast<Stage>(s));
    }
    out["counters"] = counters;
    out["stages_ns"] = stages;
    out["batch_rows"] = dispatcher_->batch_rows();
    return out;
  }

  void set_policy(std::shared_ptr<Policy> policy) {
    nb::gil_scoped_release release;
    dispatcher_->set_policy(std::move(policy));
  }

  void begin_trace(int64_t chunks) { dispatcher_->begin_trace(chunks); }

  // Of each chunk: query, lane, start, end, first row, row past the last.
  nb::list traced() const {
    nb::list out;
    for (const TracedChunk& c : dispatcher_->traced()) {
      out.append(
          nb::make_tuple(c.tag, c.lane, c.started_ns, c.executed_ns, c.row_begin, c.row_end));
    }
    return out;
  }

  int64_t outputs() const { return layout().outputs; }
  const Factories& factories() const { return factories_; }
  int fileno() const { return completions_.fd(); }
  std::vector<std::string> pin_errors() const { return dispatcher_->pin_errors(); }

 private:
  struct Held {
    int64_t id;
    BatchArrays arrays;
    Scores out;
  };

  // Lanes may need the GIL to make executors, to run them, and to let go of them.
  std::unique_ptr<Dispatcher> start(const std::vector<LaneOptions>& lanes,
                                    std::shared_ptr<Policy> policy,
                                    const DispatcherOptions& options) {
    nb::gil_scoped_release release;
    return std::make_unique<Dispatcher>(lanes, layout(), std::move(policy), options, &completions_);
  }

  const InputLayout& layout() const { return factories_[0]->layout(); }
  // Whether this is a child of the process whose threads the lanes are: there is nobody to join.
  bool forked() const { return getpid() != process_; }

  uint64_t hold(Held held) {
    if (free_.empty()) {
      free_.push_back(held_.size());
      held_.emplace_back();
    }
    const uint64_t tag = free_.back();
    free_.pop_back();
    held_[tag] = std::move(held);
    return tag;
  }

  // Lets go of a query's arrays; returns its id.
  int64_t release(uint64_t tag) {
    const Held held = std::move(*std::exchange(held_[tag], std::nullopt));
    free_.push_back(tag);
    return held.id;
  }

  const pid_t process_ = getpid();
  const Factories factories_;
  std::vector<std::optional<Held>> held_;
  std::vector<uint64_t> free_;
  std::vector<Finished> spare_;
  Completions completions_;
  std::vector<std::shared_ptr<HeldRun>> runs_;
  std::unique_ptr<Dispatcher> dispatcher_;
};

// Factories that call Python may lead back to this dispatcher.
int traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  if (!nb::inst_ready(self)) return 0;
  for (const auto& factory : nb::inst_ptr<PyDispatcher>(self)->factories()) {
    const nb::handle held = nb::find(factory);
    Py_VISIT(held.ptr());
  }
  return 0;
}

PyType_Slot slots[] = {{Py_tp_traverse, reinterpret_cast<void*>(traverse)}, {0, nullptr}};

void bind_histogram(nb::module_& m) {
  nb::class_<HistogramSnapshot>(m, "HistogramSnapshot", "A histogram at one moment.")
      .def(nb::init<>())
      .def_prop_ro("count", &HistogramSnapshot::count)
      .def_prop_ro("sum", &HistogramSnapshot::sum)
      .def_prop_ro("max", &HistogramSnapshot::max)
      .def("percentile", &HistogramSnapshot::percentile, "share"_a,
           "The smallest value that `share` (0 to 1) of the values do not exceed, within 0.8%.")
      .def("at_most", &HistogramSnapshot::at_most, "limit"_a,
           "How many values are at most `limit`; the bucket that holds it counts whole.")
      .def("merge", &HistogramSnapshot::merge, "other"_a)
      .def("subtract", &HistogramSnapshot::subtract, "earlier"_a,
           "Take away what an earlier snapshot of the same histogram had; the maximum is then\n"
           "known to its bucket.");
  nb::class_<Histogram>(m, "Histogram", "Logarithmic buckets, at most 1/64 wide; any thread.")
      .def(nb::init<>())
      .def("record", &Histogram::record, "value"_a)
      .def("snapshot", &Histogram::snapshot);
}

}  // namespace

void bind_dispatch(nb::module_& m) {
  bind_executor(m);
  bind_histogram(m);
  bind_policy(m);
  nb::class_<PyDispatcher>(m, "Dispatcher", nb::type_slots(slots),
                           "Lanes, a bounded queue and a policy.")
      .def(
          "__init__",
          [](PyDispatcher* self, const Factories& executors,
             const std::vector<std::vector<int>>& cores, std::shared_ptr<Policy> policy,
             int32_t queue_queries, int64_t queue_rows, int64_t spin_ns,
             const std::vector<CostCurve>& costs, const std::vector<int32_t>& kinds) {
            if (queue_queries < 1) throw nb::value_error("expected queue_queries >= 1");
            check_kinds(*policy, costs, kinds, executors.size());
            new (self) PyDispatcher(executors, cores, kinds, std::move(policy),
                                    {.queue_queries = queue_queries,
                                     .queue_rows = queue_rows,
                                     .spin_ns = spin_ns,
                                     .costs = costs});
          },
          "executors"_a, "cores"_a, "policy"_a, "queue_queries"_a, "queue_rows"_a, "spin_ns"_a,
          "costs"_a = std::vector<CostCurve>{}, "kinds"_a = std::vector<int32_t>{})
      .def("submit", &PyDispatcher::submit, "id"_a, "dense"_a.noconvert(),
           "user_dense"_a.noconvert(), "values"_a.noconvert(), "lengths"_a.noconvert(),
           "query_offsets"_a.noconvert(), "weights"_a.noconvert().none(), "out"_a.noconvert(),
           "deadline_ns"_a,
           "Returns at once: 'ok' (drain will tell), 'queue_full', 'deadline', 'shutting_down'.\n"
           "The arrays are read, and `out` (rows, outputs) written, until the completion is\n"
           "drained, and for a while longer when it was refused after it had begun; they are kept\n"
           "alive. `deadline_ns`: monotonic, -1 for none.")
      .def("drain", &PyDispatcher::drain,
           "All that finished since the last call: (id, outcome, finish_ns, (queue, assemble,\n"
           "execute, gather, total) in ns, failure), where failure is None or (code, feature,\n"
           "entry, column, value, limit, text).")
      .def("run_schedule", &PyDispatcher::run_schedule, "batches"_a, "which"_a.noconvert(),
           "scheduled_ns"_a.noconvert(), "lead_ns"_a, "deadline_ns"_a, "drain_ns"_a, "spin_ns"_a,
           "issued_ns"_a.noconvert(), "finished_ns"_a.noconvert(), "status"_a.noconvert(),
           "stages_ns"_a.noconvert(),
           "Issue batches[which[i]] at `scheduled_ns[i]` after the start, from a native thread,\n"
           "and record issue, end, status (0 ok, 1 queue_full, 2 deadline, 3 shutting_down,\n"
           "4 error) and stages of each in the given arrays, which must be filled with what\n"
           "stands for unanswered. Returns (start_ns, [(query, failure)]); drain tells nothing of\n"
           "these queries. `batches` are tuples of submit's arrays; `deadline_ns` counts from the\n"
           "scheduled time, -1 for none.")
      .def("wait", &PyDispatcher::wait, "timeout_ms"_a,
           "Wait without the GIL until something may be drained; -1 waits for ever.")
      .def("fileno", &PyDispatcher::fileno,
           "A descriptor, readable when there is something to drain.")
      .def("close", &PyDispatcher::close, "drain"_a,
           "Refuse new queries, end or finish (`drain`) the waiting ones, join the lanes.")
      .def_prop_ro("outputs", &PyDispatcher::outputs, "Scores per row.")
      .def("stats", &PyDispatcher::stats)
      .def(
          "set_policy", &PyDispatcher::set_policy, "policy"_a,
          "Decides from now on, also on what waits. ValueError where it wants costs and has none,\n"
          "or does not serve accelerators' queries apart as the one before did.")
      .def("begin_trace", &PyDispatcher::begin_trace, "chunks"_a,
           "Forget what was traced and keep the next `chunks`; 0: none.")
      .def(
          "traced", &PyDispatcher::traced,
          "(query, lane, started_ns, executed_ns, row_begin, row_end) of each chunk; the query is\n"
          "its place in the schedule that run_schedule issued.")
      .def("pin_errors", &PyDispatcher::pin_errors,
           "One message per lane that could not be bound to its cores.");
}

}  // namespace recstack
