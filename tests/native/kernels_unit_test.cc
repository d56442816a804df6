#include <deque>
#include <utility>
#include <vector>

#include "check.h"
#include "guarded.h"
#include "kernels/seq/seq.h"
#include "rounding.h"

namespace recstack::test {
namespace {

double activate(UnitActivation fn, double x, double slope, double scale, double shift) {
  const auto sigmoid = [](double v) { return 1 / (1 + std::exp(-v)); };
  switch (fn) {
    case UnitActivation::none:
      return x;
    case UnitActivation::relu:
      return std::fmax(x, 0);
    case UnitActivation::sigmoid:
      return sigmoid(x);
    case UnitActivation::tanh:
      return std::tanh(x);
    case UnitActivation::prelu:
      return x > 0 ? x : slope * x;
    case UnitActivation::dice:
      break;
  }
  const double p = sigmoid(x * scale + shift);
  return x * (p + slope * (1 - p));
}

// The same as the kernel makes it.
float activate_as(Isa isa, UnitActivation fn, float x, float slope, float scale, float shift) {
  switch (fn) {
    case UnitActivation::none:
      return x;
    case UnitActivation::relu:
      return unary_of(isa, Unary::relu, x);
    case UnitActivation::sigmoid:
      return unary_of(isa, Unary::sigmoid, x);
    case UnitActivation::tanh:
      return unary_of(isa, Unary::tanh, x);
    case UnitActivation::prelu:
      return x > 0 ? x : slope * x;
    case UnitActivation::dice:
      break;
  }
  const float p = unary_of(isa, Unary::sigmoid, fma_of(isa, x, scale, shift));
  return x * fma_of(isa, slope, 1 - p, p);
}

// Weights of one layer, plain for the check and packed for the kernel.
struct Layer {
  Layer(const UnitKernels& kernels, int64_t n, int64_t k, UnitActivation activation, bool first,
        Random& random)
      : weight(n * k), product(n * k), bias(n), slope(n), scale(n), shift(n) {
    for (Guarded<float>* x : {&weight, &product, &bias, &slope, &scale, &shift}) fill(*x, random);
    packed.resize(static_cast<size_t>(kernels.packed_size(n, k)));
    packed_product.resize(packed.size());
    (first ? kernels.pack : kernels.pack_later)(weight.data(), n, k, packed.data());
    kernels.pack(product.data(), n, k, packed_product.data());
    view = {.n = n,
            .k = k,
            .weight = packed.data(),
            .product = first ? packed_product.data() : nullptr,
            .bias = first ? nullptr : bias.data(),
            .activation = activation,
            .slope = slope.data(),
            .scale = scale.data(),
            .shift = shift.data()};
  }
  Guarded<float> weight, product, bias, slope, scale, shift;
  std::vector<float> packed, packed_product;
  UnitLayer view;
};

void check_unit(Isa isa, WeightFormat format, int64_t positions, int64_t dim, int64_t hidden,
                UnitActivation activation, bool product, bool shared, bool bias) {
  context = std::string(isa_name(isa)) + " " + kNames[static_cast<int>(format)] +
            " unit positions=" + std::to_string(positions) + " dim=" + std::to_string(dim) +
            " hidden=" + std::to_string(hidden) +
            " activation=" + std::to_string(static_cast<int>(activation));
  const int64_t rows = 5;
  Random random(static_cast<uint64_t>(positions * 100 + dim));
  const UnitKernels& kernels = seq_kernels(isa).unit[static_cast<int>(format)];
  std::deque<Layer> layers;
  layers.emplace_back(kernels, hidden, dim, activation, true, random);
  layers.emplace_back(kernels, 1, hidden, UnitActivation::sigmoid, false, random);
  if (!product) layers[0].view.product = nullptr;
  Guarded<float> query(rows * dim), keys(rows * positions * dim), first_bias(rows * hidden);
  for (Guarded<float>* x : {&query, &keys, &first_bias}) fill(*x, random);
  const int64_t padded = (positions + kUnitPositions - 1) / kUnitPositions * kUnitPositions * dim;
  Guarded<float> panels(rows * padded);
  for (int64_t r = 0; r < rows; ++r) {
    kernels.key_panels({.keys = keys.data() + r * positions * dim,
                        .positions = positions,
                        .dim = dim,
                        .panels = panels.data() + r * padded});
  }
  const std::vector<int32_t> entry_of_row = {0, 0, 3, 3, 4};
  const std::vector<UnitLayer> views = {layers[0].view, layers[1].view};
  Output out(rows, positions, positions + 3);
  kernels.attention_unit({.query = query.data(),
                          .query_stride = dim,
                          .panels = panels.data(),
                          .panels_stride = padded,
                          .plain_keys = false,
                          .entry_of_row = shared ? entry_of_row.data() : nullptr,
                          .bias = bias ? first_bias.data() : nullptr,
                          .bias_stride = hidden,
                          .layers = views.data(),
                          .layer_count = 2,
                          .rows = rows,
                          .positions = positions,
                          .result = UnitResult::scores,
                          .out = out.data(),
                          .out_stride = positions + 3});
  out.check_canaries();
  // What lies close to the middle of two bf16 may round the other way in doubles.
  const double tolerance = format == WeightFormat::bf16 ? 1e-2 : 2e-5;
  const Layer &first = layers[0], &second = layers[1];
  const std::vector<float> last = as_weights(format, second.weight.data(), hidden);
  std::vector<float> folded(static_cast<size_t>(hidden * dim)), x(static_cast<size_t>(hidden));
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t entry = shared ? entry_of_row[static_cast<size_t>(r)] : r;
    for (int64_t i = 0; i < hidden * dim; ++i) {
      const float w = first.weight[i];
      folded[static_cast<size_t>(i)] = as_weight(
          format, product ? fma_of(isa, first.product[i], query[r * dim + i % dim], w) : w);
    }
    for (int64_t t = 0; t < positions; ++t) {
      const std::vector<float> key =
          as_inputs(format, keys.data() + (entry * positions + t) * dim, dim);
      for (int64_t j = 0; j < hidden; ++j) {
        const float sum = chain(isa, format, key.data(), folded.data() + j * dim, dim);
        const float y = activate_as(isa, activation, bias ? sum + first_bias[r * hidden + j] : sum,
                                    first.slope[j], first.scale[j], first.shift[j]);
        x[static_cast<size_t>(j)] = as_input(format, y);
      }
      const float sum = chain(isa, format, x.data(), last.data(), hidden);
      const float want = unary_of(isa, Unary::sigmoid, sum + second.bias[0]);
      CHECK_SAME_BITS(out.row(r) + t, &want, 1);
    }
    for (int64_t t = 0; t < positions; ++t) {
      double score = layers[1].bias[0];
      for (int64_t j = 0; j < hidden; ++j) {
        double sum = bias ? static_cast<double>(first_bias[r * hidden + j]) : 0.0;
        for (int64_t d = 0; d < dim; ++d) {
          const double p = product ? static_cast<double>(layers[0].product[j * dim + d]) : 0.0;
          const double w = layers[0].weight[j * dim + d] + p * query[r * dim + d];
          sum += static_cast<double>(as_weight(format, static_cast<float>(w))) *
                 as_input(format, keys[(entry * positions + t) * dim + d]);
        }
        const double y =
            activate(activation, sum, layers[0].slope[j], layers[0].scale[j], layers[0].shift[j]);
        score += static_cast<double>(as_input(format, static_cast<float>(y))) *
                 as_weight(format, layers[1].weight[j]);
      }
      CHECK_NEAR(out.at(r, t), activate(UnitActivation::sigmoid, score, 0, 0, 0), tolerance);
    }
  }
}

// The sum of x as the kernel adds up positions: panels of two vectors, those added lane by lane,
// the lanes folded in halves, then that to the sum of 32 so far, and that to the sum of all.
float panel_sum(Isa isa, const std::vector<float>& x) {
  const size_t lanes = isa == Isa::scalar ? 4 : isa == Isa::avx2 ? 8 : 16;
  float total = 0, group = 0;
  for (size_t t = 0; t < x.size(); t += 2 * lanes) {
    if (t % kUnitPositions == 0) total += std::exchange(group, 0.0f);
    std::vector<float> sums(lanes, 0.0f);
    for (size_t i = t; i < std::min(x.size(), t + 2 * lanes); ++i) sums[(i - t) % lanes] += x[i];
    for (size_t half = lanes / 2; half > 0; half /= 2) {
      for (size_t i = 0; i < half; ++i) sums[i] += sums[i + half];
    }
    group += sums[0];
  }
  return total + group;
}

// The sum over positions of a layer is what adding up its scores, output by output, gives.
void check_sum(Isa isa, WeightFormat format, int64_t positions, int64_t n) {
  context = std::string(isa_name(isa)) + " " + kNames[static_cast<int>(format)] +
            " sum positions=" + std::to_string(positions) + " n=" + std::to_string(n);
  const int64_t dim = 7, rows = 2;
  Random random(static_cast<uint64_t>(positions * 100 + n));
  const UnitKernels& kernels = seq_kernels(isa).unit[static_cast<int>(format)];
  Layer layer(kernels, n, dim, UnitActivation::relu, true, random);
  UnitLayer view = layer.view;
  view.product = nullptr;
  Guarded<float> keys(positions * dim), bias(n);
  fill(keys, random);
  fill(bias, random);
  Guarded<float> panels((positions + kUnitPositions - 1) / kUnitPositions * kUnitPositions * dim);
  kernels.key_panels(
      {.keys = keys.data(), .positions = positions, .dim = dim, .panels = panels.data()});
  Output out(rows, n, n + 3);
  UnitArgs args = {};
  args.panels = panels.data();
  args.bias = bias.data();
  args.layers = &view;
  args.layer_count = 1;
  args.rows = rows;
  args.positions = positions;
  args.result = UnitResult::sum;
  args.out = out.data();
  args.out_stride = n + 3;
  kernels.attention_unit(args);
  out.check_canaries();
  // Of each 32 positions by themselves, from the keys as they are; then their sums, in order.
  Output parts(rows, n, n + 3), sums(rows, n, n + 3);
  for (int64_t r = 0; r < rows; ++r) std::fill_n(sums.row(r), n, 0.0f);
  UnitArgs part = args;
  part.panels = keys.data();
  part.plain_keys = true;
  part.out = parts.data();
  for (int64_t t = 0; t < positions; t += kUnitPositions) {
    part.panels = keys.data() + t * dim;
    part.positions = std::min(kUnitPositions, positions - t);
    kernels.attention_unit(part);
    parts.check_canaries();
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t j = 0; j < n; ++j) sums.row(r)[j] += parts.row(r)[j];
    }
  }
  for (int64_t r = 0; r < rows; ++r) CHECK_SAME_BITS(sums.row(r), out.row(r), n);
  const std::vector<float> inputs = as_inputs(format, keys.data(), keys.size());
  const std::vector<float> weights = as_weights(format, layer.weight.data(), n * dim);
  for (int64_t j = 0; j < n; ++j) {
    std::vector<float> x;
    double total = 0;
    for (int64_t t = 0; t < positions; ++t) {
      const float* w = weights.data() + j * dim;
      x.push_back(std::fmax(chain(isa, format, inputs.data() + t * dim, w, dim) + bias[j], 0.0f));
      total += x.back();
    }
    const float want = panel_sum(isa, x);
    CHECK_NEAR(want, total, 1e-6 * (1 + total));
    for (int64_t r = 0; r < rows; ++r) CHECK_SAME_BITS(out.row(r) + j, &want, 1);
  }
}

void run(Isa isa, WeightFormat format) {
  for (int64_t positions : {0, 1, 16, 31, 64, 250}) {
    for (int64_t n : {1, 13, 32, 256}) check_sum(isa, format, positions, n);
  }
  for (int64_t positions : {0, 1, 15, 32, 33, 70}) {
    for (int64_t dim : {1, 8, 17, 32}) {
      for (int64_t hidden : {1, 5, 12, 13, 36, 80}) {
        const auto fn = static_cast<UnitActivation>((positions + dim + hidden) % 6);
        check_unit(isa, format, positions, dim, hidden, fn, hidden != 12, positions % 2 == 1,
                   dim != 8);
      }
    }
  }
}

}  // namespace
}  // namespace recstack::test

int main() {
  for (recstack::Isa isa : recstack::supported_isas()) {
    recstack::test::run(isa, recstack::WeightFormat::fp32);
    recstack::test::run(isa, recstack::WeightFormat::bf16);
  }
  return recstack::test::finish();
}
