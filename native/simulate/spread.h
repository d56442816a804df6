// By how much a batch takes longer or shorter than its mean: factors of mean 1.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

namespace recstack {

class Spread {
 public:
  enum class Kind { none, lognormal, exponential, empirical };

  // `sigma`: of the logarithm, for lognormal. `factors`: equally likely, for empirical; scaled
  // so that their mean is 1. Throws std::invalid_argument.
  Spread(Kind kind, double sigma, std::vector<double> factors);
  Spread() = default;

  double draw(std::mt19937_64* random);

 private:
  Kind kind_ = Kind::none;
  double sigma_ = 0.0;
  std::vector<double> factors_;
  std::normal_distribution<double> normal_;
};

}  // namespace recstack
