#include "simulate/spread.h"

#include <cmath>
#include <numeric>
#include <stdexcept>

namespace recstack {
namespace {

// In (0, 1].
double uniform(std::mt19937_64* random) {
  return (static_cast<double>((*random)() >> 11) + 1.0) * 0x1p-53;
}

}  // namespace

Spread::Spread(Kind kind, double sigma, std::vector<double> factors)
    : kind_(kind), sigma_(sigma), factors_(std::move(factors)) {
  if (!(sigma_ >= 0 && sigma_ < 10)) throw std::invalid_argument("expected sigma in [0, 10)");
  if (kind_ != Kind::empirical) return;
  if (factors_.empty()) throw std::invalid_argument("expected at least one factor");
  for (const double factor : factors_) {
    if (!(factor > 0 && std::isfinite(factor))) throw std::invalid_argument("expected factors > 0");
  }
  const double mean =
      std::accumulate(factors_.begin(), factors_.end(), 0.0) / static_cast<double>(factors_.size());
  for (double& factor : factors_) factor /= mean;
}

double Spread::draw(std::mt19937_64* random) {
  switch (kind_) {
    case Kind::none:
      return 1.0;
    case Kind::lognormal:
      return std::exp(sigma_ * normal_(*random) - sigma_ * sigma_ / 2);
    case Kind::exponential:
      return -std::log(uniform(random));
    case Kind::empirical:
      break;
  }
  return factors_[static_cast<size_t>((1.0 - uniform(random)) *
                                      static_cast<double>(factors_.size()))];
}

}  // namespace recstack
