#include "dispatch/pace.h"

#include <algorithm>
#include <cmath>

namespace recstack {
namespace {

constexpr double kBatches = 32;
// One preempted batch says little, once a few were seen.
constexpr double kFew = 8;
constexpr double kSlowest = 4;

}  // namespace

void Pace::observe(int64_t rows, int64_t took_ns) {
  const auto x = static_cast<double>(rows);
  auto y = static_cast<double>(std::max<int64_t>(took_ns, 1));
  if (batches_ >= kFew) y = std::min(y, kSlowest * static_cast<double>(batch_ns(rows) + 1));
  batches_ = std::min(batches_ + 1, kBatches);
  const double part = 1 / batches_;
  const double off_x = x - rows_, off_y = y - ns_;
  rows_ += part * off_x;
  ns_ += part * off_y;
  rows_rows_ = (1 - part) * (rows_rows_ + part * off_x * off_x);
  rows_ns_ = (1 - part) * (rows_ns_ + part * off_x * off_y);
}

double Pace::slope() const {
  return rows_rows_ > 0 ? std::clamp(rows_ns_ / rows_rows_, 0.0, ns_ / rows_) : 0.0;
}

int64_t Pace::batch_ns(int64_t rows) const {
  if (batches_ == 0) return 0;
  return std::llround(ns_ + slope() * (static_cast<double>(rows) - rows_));
}

}  // namespace recstack
