// How long batches took of late, by their rows, with nothing measured beforehand.
//
//   batch_ns(rows) = the line through the last few dozen batches: least squares, exponentially
//                    weighted, its slope between 0 and what goes through the origin
//
// It is right about batches of the usual size from the first one on. While all had one size it
// takes others to cost as much: what is believed too cheap is soon tried, and known.
#pragma once

#include <cstdint>

namespace recstack {

class Pace {
 public:
  void observe(int64_t rows, int64_t took_ns);

  // 0 while nothing was seen.
  int64_t batch_ns(int64_t rows) const;

 private:
  double slope() const;

  double batches_ = 0;    // that the means are of
  double rows_ = 0;       // mean
  double ns_ = 0;         // mean
  double rows_rows_ = 0;  // variance
  double rows_ns_ = 0;    // covariance
};

}  // namespace recstack
