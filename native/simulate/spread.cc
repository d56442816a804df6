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

Spread::Spread(Kind kind, double sigma, std::vector<double> quantiles)
    : kind_(kind), sigma_(sigma), quantiles_(std::move(quantiles)) {
  if (!(sigma_ >= 0 && sigma_ < 10)) throw std::invalid_argument("expected sigma in [0, 10)");
  if (kind_ != Kind::empirical) return;
  if (quantiles_.size() < 2) throw std::invalid_argument("expected at least two quantiles");
  for (size_t i = 0; i < quantiles_.size(); ++i) {
    if (!(quantiles_[i] > 0 && std::isfinite(quantiles_[i])) ||
        (i > 0 && quantiles_[i] < quantiles_[i - 1])) {
      throw std::invalid_argument("expected ascending quantiles > 0");
    }
  }
  const double ends = (quantiles_.front() + quantiles_.back()) / 2;
  const double mean = (std::accumulate(quantiles_.begin(), quantiles_.end(), 0.0) - ends) /
                      static_cast<double>(quantiles_.size() - 1);
  for (double& quantile : quantiles_) quantile /= mean;
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
  const double place = (1.0 - uniform(random)) * static_cast<double>(quantiles_.size() - 1);
  const auto i = static_cast<size_t>(place);
  const double part = place - static_cast<double>(i);
  return quantiles_[i] + part * (quantiles_[i + 1] - quantiles_[i]);
}

}  // namespace recstack
