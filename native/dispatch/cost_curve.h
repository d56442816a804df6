// How long a lane takes for a batch: by rows, merged queries and lanes that run at the same time.
//
//   service(rows, queries, busy) = t[busy](rows) + (queries - 1) * query_ns
//
// t is measured at 1, 2, 4, ... rows for some counts of busy lanes; between them it is interpolated
// linearly in rows and in lanes, past the last rows it goes on as steeply, past the last count of
// lanes it stays. It never falls with rows.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace recstack {

struct CostTable {
  std::vector<int32_t> busy;       // (levels), ascending, the first 1
  std::vector<double> service_ns;  // (levels, nodes), of 1, 2, 4, ... rows; at least two nodes
  double query_ns = 0.0;
};

class CostCurve {
 public:
  // Throws std::invalid_argument that says what is wrong with the table.
  explicit CostCurve(const CostTable& table);

  int64_t service_ns(int64_t rows, int64_t queries = 1, int64_t busy = 1) const;
  // The most rows whose service takes at most so long; at least 1.
  int64_t rows_within(int64_t limit_ns, int64_t busy = 1) const;
  // The fewest, and the most rows of which each costs at most 1 / share of what it costs at best;
  // the most: of what was measured, and no limit where the last of that is within the share.
  int64_t efficient_rows(double share, int64_t busy = 1) const;
  int64_t most_efficient_rows(double share, int64_t busy = 1) const;

  // Lets what a batch really took move the curve near its rows: by an exponentially weighted mean
  // over a few dozen batches, never beyond four times what was measured or a quarter of it.
  void observe(int64_t rows, int64_t queries, int64_t busy, int64_t took_ns);
  // Lowers the whole curve by a little, within the same bounds.
  void doubt();

 private:
  double at(int64_t rows, int64_t busy) const;
  double per_row(int32_t node, const double* time) const;
  double best_per_row(const double* time) const;
  const double* level(int64_t busy) const;

  int32_t nodes_;
  int32_t levels_;               // busy lanes up to the last that was measured, one by one
  std::vector<double> time_ns_;  // (levels, nodes), as measured
  std::vector<double> rise_;     // (nodes - 1), the least growth from a node to the next
  std::vector<double> drift_;    // (nodes), observed / measured
  double query_ns_;
};

// By kind of lane.
using Costs = std::span<const CostCurve>;

}  // namespace recstack
