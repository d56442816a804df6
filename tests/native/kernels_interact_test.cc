#include "kernels/interact/interact.h"

#include "check.h"
#include "guarded.h"

namespace recstack::test {
namespace {

void check_dot(Isa isa, int64_t rows, int64_t features, int64_t dim, PairOrder order,
               bool self_pairs) {
  context = std::string(isa_name(isa)) + " dot F=" + std::to_string(features) +
            " dim=" + std::to_string(dim) + " upper=" + std::to_string(order == PairOrder::upper) +
            " self=" + std::to_string(self_pairs);
  Random random(static_cast<uint64_t>(features * 131 + dim));
  const int64_t pairs = features * (features - 1) / 2 + (self_pairs ? features : 0);
  const int64_t width = features * dim, x_stride = width + 3;
  Guarded<float> x(rows > 0 ? (rows - 1) * x_stride + width : 0);
  fill(x, random);
  Output out(rows, pairs, pairs + 5), alone(1, pairs, pairs);
  DotArgs args = {x.data(), rows,       features,   dim,      x_stride,
                  order,    self_pairs, out.data(), pairs + 5};
  interact_kernels(isa).dot_f32(args);
  out.check_canaries();
  for (int64_t r = 0; r < rows; ++r) {
    int64_t p = 0;
    for (int64_t i = 0; i < features; ++i) {
      for (int64_t j = 0; j < features; ++j) {
        const bool inside = order == PairOrder::lower ? j < i : j > i;
        if (!inside && !(self_pairs && i == j)) continue;
        double sum = 0;
        for (int64_t d = 0; d < dim; ++d) {
          sum += static_cast<double>(x[r * x_stride + i * dim + d]) * x[r * x_stride + j * dim + d];
        }
        CHECK_NEAR(out.at(r, p++), sum, 2e-7 * static_cast<double>(dim + 8));
      }
    }
    CHECK_EQ(p, pairs);
    args.x = x.data() + r * x_stride;
    args.rows = 1;
    args.out = alone.data();
    interact_kernels(isa).dot_f32(args);
    CHECK_SAME_BITS(out.row(r), alone.data(), pairs);
  }
}

void check_cross(Isa isa, int64_t rows, int64_t n) {
  context = std::string(isa_name(isa)) + " cross n=" + std::to_string(n);
  Random random(static_cast<uint64_t>(n));
  Guarded<float> x0(rows * n), y(rows * n), x(rows * n);
  fill(x0, random);
  fill(y, random);
  fill(x, random);
  Output out(rows, n, n + 2);
  interact_kernels(isa).cross_f32(x0.data(), n, y.data(), n, x.data(), n, rows, n, out.data(),
                                  n + 2);
  out.check_canaries();
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t j = 0; j < n; ++j) {
      const int64_t i = r * n + j;
      CHECK_NEAR(out.at(r, j), static_cast<double>(x0[i]) * y[i] + x[i], 3e-7);
    }
  }
}

void run(Isa isa) {
  for (PairOrder order : {PairOrder::lower, PairOrder::upper}) {
    for (bool self_pairs : {false, true}) {
      for (int64_t features : {1, 2, 3, 4, 8, 9, 15, 16, 17, 27, 31, 32, 33, 40, 65, 100}) {
        for (int64_t dim : {1, 15, 16, 33}) {
          check_dot(isa, 2, features, dim, order, self_pairs);
        }
      }
      for (int64_t dim : {0, 64, 127, 128, 129, 257}) {
        check_dot(isa, 3, 27, dim, order, self_pairs);
      }
      check_dot(isa, 0, 8, 16, order, self_pairs);
    }
  }
  for (int64_t n : {0, 1, 15, 16, 17, 100}) check_cross(isa, 3, n);
}

}  // namespace
}  // namespace recstack::test

int main() {
  for (recstack::Isa isa : recstack::supported_isas()) recstack::test::run(isa);
  return recstack::test::finish();
}
