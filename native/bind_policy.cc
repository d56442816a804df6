// Python's view of policies, cost curves and the simulator.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "dispatch/fixed.h"
#include "dispatch/slack.h"
#include "simulate/queueing.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace recstack {
namespace {

using Int64s = nb::ndarray<const int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Int64sOut = nb::ndarray<int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using RowsOut = nb::ndarray<int64_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using BytesOut = nb::ndarray<uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

int64_t or_never(int64_t ns) { return ns < 0 ? kNever : ns; }

void bind_costs(nb::module_& m) {
  nb::class_<CostCurve>(m, "CostCurve", "How long a lane takes for a batch.")
      .def(
          "__init__",
          [](CostCurve* self, std::vector<int32_t> busy, std::vector<double> service_ns,
             double query_ns) {
            new (self) CostCurve({std::move(busy), std::move(service_ns), query_ns});
          },
          "busy"_a, "service_ns"_a, "query_ns"_a,
          "service_ns: (len(busy) * nodes), of 1, 2, 4, ... rows at each count of busy lanes.")
      .def("service_ns", &CostCurve::service_ns, "rows"_a, "queries"_a = 1, "busy"_a = 1)
      .def("rows_within", &CostCurve::rows_within, "limit_ns"_a, "busy"_a = 1)
      .def("efficient_rows", &CostCurve::efficient_rows, "share"_a, "busy"_a = 1)
      .def("observe", &CostCurve::observe, "rows"_a, "queries"_a, "busy"_a, "took_ns"_a);
}

void bind_policies(nb::module_& m) {
  nb::class_<Policy>(m, "Policy", "What to run next: a pure function of queue, lanes and time.");
  nb::class_<FixedPolicy, Policy>(m, "FixedPolicy", "One batch size for all loads.")
      .def(
          "__init__",
          [](FixedPolicy* self, int64_t chunk_rows, int64_t merge_rows, int64_t merge_window_ns,
             bool by_deadline, int64_t accelerator_rows) {
            if (chunk_rows < 1) throw nb::value_error("expected chunk_rows >= 1");
            if (accelerator_rows < 0) throw nb::value_error("expected accelerator_rows >= 0");
            new (self) FixedPolicy({.chunk_rows = chunk_rows,
                                    .merge_rows = merge_rows,
                                    .merge_window_ns = merge_window_ns,
                                    .order = by_deadline ? Order::deadline : Order::arrival,
                                    .accelerator_rows = accelerator_rows});
          },
          "chunk_rows"_a, "merge_rows"_a = 0, "merge_window_ns"_a = 0, "by_deadline"_a = false,
          "accelerator_rows"_a = 0,
          "accelerator_rows: queries of so many rows or more go whole to lanes of kinds other than "
          "0;\n0: all lanes are alike.");
  nb::class_<SlackPolicy, Policy>(m, "SlackPolicy", "Cuts by slack and by what else waits.")
      .def(
          "__init__",
          [](SlackPolicy* self, int64_t target_ns, bool shed_largest, double stretch) {
            if (!(stretch >= 0)) throw nb::value_error("expected stretch >= 0");
            new (self) SlackPolicy({.target_ns = or_never(target_ns),
                                    .shed = shed_largest ? Shed::largest : Shed::latest,
                                    .stretch = stretch});
          },
          "target_ns"_a, "shed_largest"_a = true, "stretch"_a = SlackOptions{}.stretch);
}

void bind_simulator(nb::module_& m) {
  nb::class_<LaneKind>(m, "LaneKind", "Simulated lanes of one kind.")
      .def(
          "__init__",
          [](LaneKind* self, int32_t lanes, const CostCurve& cost, const std::string& spread,
             double sigma, std::vector<double> factors, int64_t idle_ns) {
            if (idle_ns < 0) throw nb::value_error("expected idle_ns >= 0");
            if (lanes < 1) throw nb::value_error("expected at least one lane");
            const auto kind = spread == "none"          ? Spread::Kind::none
                              : spread == "lognormal"   ? Spread::Kind::lognormal
                              : spread == "exponential" ? Spread::Kind::exponential
                                                        : Spread::Kind::empirical;
            new (self) LaneKind{lanes, cost, Spread(kind, sigma, std::move(factors)), idle_ns};
          },
          "lanes"_a, "cost"_a, "spread"_a = "none", "sigma"_a = 0.0,
          "factors"_a = std::vector<double>{}, "idle_ns"_a = 0);
  m.def(
      "simulate",
      [](const std::shared_ptr<Policy>& policy, const std::vector<LaneKind>& kinds,
         const std::vector<CostCurve>& believed, Int64s arrival_ns, Int64s rows,
         int64_t deadline_ns, int32_t queue_queries, int64_t queue_rows, uint64_t seed,
         Int64sOut started_ns, Int64sOut finished_ns, BytesOut status, RowsOut chunks) {
        const size_t n = arrival_ns.shape(0);
        if (rows.shape(0) != n || started_ns.shape(0) != n || finished_ns.shape(0) != n ||
            status.shape(0) != n) {
          throw nb::value_error("expected arrays of one length");
        }
        if (chunks.shape(1) != 6) throw nb::value_error("expected chunks of 6 columns");
        if (kinds.empty() || (!believed.empty() && believed.size() != kinds.size())) {
          throw nb::value_error("expected a kind of lane, and a believed curve for each or none");
        }
        for (size_t i = 0; i < n; ++i) {
          if (rows(i) < 1 || (i > 0 && arrival_ns(i) < arrival_ns(i - 1))) {
            throw nb::value_error("expected ascending arrivals of at least one row each");
          }
        }
        Queueing queueing(policy, kinds,
                          {.queue_queries = queue_queries,
                           .queue_rows = queue_rows,
                           .seed = seed,
                           .believed = believed,
                           .trace_chunks = static_cast<int64_t>(chunks.shape(0))});
        QueueingCounts counts;
        {
          nb::gil_scoped_release release;
          counts = queueing.run({.queries = static_cast<int64_t>(n),
                                 .arrival_ns = arrival_ns.data(),
                                 .rows = rows.data(),
                                 .deadline_ns = or_never(deadline_ns)},
                                {started_ns.data(), finished_ns.data(), status.data()});
        }
        int64_t* to = chunks.data();
        for (const TracedChunk& c : queueing.traced()) {
          for (const int64_t field : {static_cast<int64_t>(c.tag), static_cast<int64_t>(c.lane),
                                      c.started_ns, c.executed_ns, c.row_begin, c.row_end}) {
            *to++ = field;
          }
        }
        nb::dict out;
        out["traced"] = queueing.traced().size();
        out["batches"] = counts.batches;
        out["merged_batches"] = counts.merged_batches;
        out["split_queries"] = counts.split_queries;
        out["early"] = counts.early;
        out["rows"] = counts.rows;
        out["busy_ns"] = counts.busy_ns;
        return out;
      },
      "policy"_a, "kinds"_a, "believed"_a, "arrival_ns"_a.noconvert(), "rows"_a.noconvert(),
      "deadline_ns"_a, "queue_queries"_a, "queue_rows"_a, "seed"_a, "started_ns"_a.noconvert(),
      "finished_ns"_a.noconvert(), "status"_a.noconvert(), "chunks"_a.noconvert(),
      "Run queries through `policy` in virtual time and record start, end and status (as\n"
      "run_schedule) of each in the given arrays; `deadline_ns` counts from the arrival, -1 for\n"
      "none. `chunks` (m, 6) takes the first m chunks that lanes ran, as Dispatcher.traced has\n"
      "them. Returns counts of chunks traced, batches, merged_batches, split_queries, early\n"
      "refusals, rows, and busy_ns over all lanes.");
}

}  // namespace

void bind_policy(nb::module_& m) {
  bind_costs(m);
  bind_policies(m);
  bind_simulator(m);
}

}  // namespace recstack
