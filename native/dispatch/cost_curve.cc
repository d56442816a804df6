#include "dispatch/cost_curve.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <stdexcept>
#include <string>

namespace recstack {
namespace {

constexpr double kWeight = 1.0 / 32;  // of one observation
constexpr double kDrift = 4.0;
constexpr double kDoubt = 1.0 / 256;

void check(bool holds, const std::string& what) {
  if (!holds) throw std::invalid_argument(what);
}

// The last node at or before so many rows that has one after it.
int32_t node_of(int64_t rows, int32_t nodes) {
  const int32_t node = static_cast<int32_t>(std::bit_width(static_cast<uint64_t>(rows))) - 1;
  return std::clamp(node, 0, nodes - 2);
}

double share_of(int64_t rows, int32_t node) {
  const auto begin = static_cast<double>(int64_t{1} << node);
  return (static_cast<double>(rows) - begin) / begin;
}

}  // namespace

CostCurve::CostCurve(const CostTable& table) : query_ns_(table.query_ns) {
  const size_t levels = table.busy.size();
  check(levels > 0 && table.busy[0] == 1, "expected counts of busy lanes that begin with 1");
  check(table.service_ns.size() % levels == 0 && table.service_ns.size() / levels >= 2,
        "expected a time per count of busy lanes and power of two of rows, at least two of these");
  nodes_ = static_cast<int32_t>(table.service_ns.size() / levels);
  check(nodes_ <= 40, "expected at most 40 powers of two of rows");
  check(std::isfinite(query_ns_) && query_ns_ >= 0, "expected a time per query >= 0");
  for (const double ns : table.service_ns) {
    check(std::isfinite(ns) && ns > 0, "expected times > 0");
  }
  for (size_t l = 1; l < levels; ++l) {
    check(table.busy[l] > table.busy[l - 1], "expected ascending counts of busy lanes");
  }
  levels_ = table.busy.back();
  check(levels_ <= 4096, "expected at most 4096 busy lanes");
  time_ns_.resize(static_cast<size_t>(levels_) * nodes_);
  for (int32_t busy = 1, l = 0; busy <= levels_; ++busy) {
    if (l + 1 < static_cast<int32_t>(levels) && busy > table.busy[l + 1]) ++l;
    const int32_t above = std::min<int32_t>(l + 1, static_cast<int32_t>(levels) - 1);
    const double span = std::max(table.busy[above] - table.busy[l], 1);
    const double part = (busy - table.busy[l]) / span;
    double* time = &time_ns_[static_cast<size_t>(busy - 1) * nodes_];
    for (int32_t k = 0; k < nodes_; ++k) {
      time[k] = table.service_ns[l * nodes_ + k] * (1 - part) +
                table.service_ns[above * nodes_ + k] * part;
      if (k > 0) time[k] = std::max(time[k], time[k - 1]);
    }
  }
  drift_.assign(nodes_, 1.0);
  rise_.assign(nodes_ - 1, INFINITY);
  for (int32_t l = 0; l < levels_; ++l) {
    const double* time = &time_ns_[static_cast<size_t>(l) * nodes_];
    for (int32_t k = 0; k + 1 < nodes_; ++k) rise_[k] = std::min(rise_[k], time[k + 1] / time[k]);
  }
}

const double* CostCurve::level(int64_t busy) const {
  return &time_ns_[(std::clamp<int64_t>(busy, 1, levels_) - 1) * nodes_];
}

double CostCurve::at(int64_t rows, int64_t busy) const {
  const int32_t k = node_of(rows, nodes_);
  const double* time = level(busy);
  const double low = time[k] * drift_[k], high = time[k + 1] * drift_[k + 1];
  return low + share_of(rows, k) * (high - low);
}

int64_t CostCurve::service_ns(int64_t rows, int64_t queries, int64_t busy) const {
  if (rows < 1) return 0;
  return std::llround(at(rows, busy) + static_cast<double>(queries - 1) * query_ns_);
}

int64_t CostCurve::rows_within(int64_t limit_ns, int64_t busy) const {
  const double* time = level(busy);
  const auto limit = static_cast<double>(limit_ns);
  int32_t k = 0;
  while (k < nodes_ - 2 && time[k + 1] * drift_[k + 1] <= limit) ++k;
  const double low = time[k] * drift_[k], high = time[k + 1] * drift_[k + 1];
  if (limit <= low) return int64_t{1} << k;
  const auto begin = static_cast<double>(int64_t{1} << k);
  const double share = (limit - low) / std::max(high - low, 1e-9);
  return static_cast<int64_t>(std::min(begin * (1 + share), 1e12));
}

double CostCurve::per_row(int32_t node, const double* time) const {
  return time[node] / static_cast<double>(int64_t{1} << node);
}

double CostCurve::best_per_row(const double* time) const {
  double best = per_row(0, time);
  for (int32_t k = 1; k < nodes_; ++k) best = std::min(best, per_row(k, time));
  return best;
}

int64_t CostCurve::efficient_rows(double share, int64_t busy) const {
  const double* time = level(busy);
  const double enough = best_per_row(time) / share;
  int32_t k = 0;
  while (per_row(k, time) > enough) ++k;
  if (k == 0) return 1;
  // On the line from the last node that costs more, low + slope x, where a row costs enough.
  const auto begin = static_cast<double>(int64_t{1} << (k - 1));
  const double low = per_row(k - 1, time) * begin;
  const double slope = (per_row(k, time) * 2 * begin - low) / begin;
  const double rows = slope < enough ? (low - slope * begin) / (enough - slope) : 2 * begin;
  return static_cast<int64_t>(std::ceil(std::clamp(rows, begin, 2 * begin)));
}

int64_t CostCurve::most_efficient_rows(double share, int64_t busy) const {
  const double* time = level(busy);
  const double enough = best_per_row(time) / share;
  int32_t k = nodes_ - 1;
  while (per_row(k, time) > enough) --k;
  return k == nodes_ - 1 ? int64_t{1} << 40 : int64_t{1} << k;
}

void CostCurve::observe(int64_t rows, int64_t queries, int64_t busy, int64_t took_ns) {
  if (rows < 1 || took_ns <= 0) return;
  const double expected = at(rows, busy);
  const double took = static_cast<double>(took_ns) - static_cast<double>(queries - 1) * query_ns_;
  // One preempted batch says little.
  const double ratio = std::clamp(took / expected, 0.5, 2.0);
  const int32_t k = node_of(rows, nodes_);
  const double part = std::clamp(share_of(rows, k), 0.0, 1.0);
  const double weights[2] = {1 - part, part};
  for (int i = 0; i < 2; ++i) {
    double& drift = drift_[k + i];
    drift = std::clamp(drift * (1 + kWeight * weights[i] * (ratio - 1)), 1 / kDrift, kDrift);
  }
  // More rows never cost less.
  for (int32_t i = k; i + 1 < nodes_; ++i) {
    drift_[i + 1] = std::max(drift_[i + 1], drift_[i] / rise_[i]);
  }
  for (int32_t i = k; i > 0; --i) drift_[i - 1] = std::min(drift_[i - 1], drift_[i] * rise_[i - 1]);
}

void CostCurve::doubt() {
  for (double& drift : drift_) drift = std::max(drift * (1 - kDoubt), 1 / kDrift);
}

}  // namespace recstack
