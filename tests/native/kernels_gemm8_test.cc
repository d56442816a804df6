#include "kernels/gemm8/gemm8.h"

#include <limits>
#include <memory>
#include <vector>

#include "check.h"
#include "guarded.h"

namespace recstack::test {
namespace {

// gemm8.h word by word.
struct Twin {
  std::vector<float> scale;
  std::vector<int32_t> w8;  // (n, k)
};

bool contains(const std::vector<int32_t>& outliers, int64_t i) {
  for (const int32_t o : outliers) {
    if (o == i) return true;
  }
  return false;
}

Twin quantise_weights(const float* w, int64_t n, int64_t k, int64_t stride,
                      const std::vector<int32_t>& outliers) {
  Twin twin{std::vector<float>(n), std::vector<int32_t>(n * k)};
  for (int64_t j = 0; j < n; ++j) {
    float largest = 0;
    for (int64_t i = 0; i < k; ++i) {
      if (!contains(outliers, i)) largest = std::fmax(largest, std::fabs(w[j * stride + i]));
    }
    const float scale = largest / 127.0f;
    twin.scale[j] = scale < kSmallestScale ? 0 : scale;
    for (int64_t i = 0; i < k && twin.scale[j] > 0; ++i) {
      if (contains(outliers, i)) continue;
      const float q = std::nearbyint(w[j * stride + i] / scale);
      twin.w8[j * k + i] = static_cast<int32_t>(std::fmin(std::fmax(q, -127.0f), 127.0f));
    }
  }
  return twin;
}

RowScale8 scale_of(float low, float high) {
  low = std::fmin(low, 0.0f);
  high = std::fmax(high, 0.0f);
  const float step = high / 255.0f - low / 255.0f;
  const float inverse = step < kSmallestScale ? 0 : 1.0f / step;
  const float zero = -low * inverse;
  return {step, inverse, zero > 0 ? std::nearbyint(std::fmin(zero, 255.0f)) : 0.0f};
}

struct Case {
  int64_t rows, n, k;
  Activation activation = Activation::none;
  bool bias = false;
  std::vector<int32_t> outliers = {};
  bool fixed = false;  // one range for all rows, from low * part to high * part
  bool start = false;
  float low = -1, high = 1;  // of x
  bool extreme = false;      // q is 0 or 255, weights +-127
  float part = 0.5f;
};

struct Packed {
  Packed(const Gemm8Kernels& kernels, const Guarded<float>& w, int64_t n, int64_t k, int64_t stride,
         const std::vector<int32_t>& outliers)
      : size(kernels.packed_size(n, k, static_cast<int64_t>(outliers.size()))),
        storage(new char[size + 128]) {
    char* at = storage.get();
    while (reinterpret_cast<uintptr_t>(at) % 64 != 0) ++at;
    at[size] = 77;
    layer = kernels.pack_s8(w.data(), n, k, stride, outliers.data(),
                            static_cast<int64_t>(outliers.size()), at);
    CHECK_EQ(at[size], 77);
  }
  size_t size;
  std::unique_ptr<char[]> storage;
  PackedLayer8 layer;
};

struct Layer {
  Layer(Isa isa, const Case& c)
      : x_stride(c.k + 3),
        w_stride(c.k + 5),
        x(c.rows > 0 ? (c.rows - 1) * x_stride + c.k : 0),
        w(c.n > 0 ? (c.n - 1) * w_stride + c.k : 0),
        bias(c.n),
        starts((c.rows / 3 + 1) * c.n),
        start_of_row(c.rows),
        random(static_cast<uint64_t>(c.rows * 1000003 + c.n * 1009 + c.k)) {
    context = std::string(isa_name(isa)) + " rows=" + std::to_string(c.rows) +
              " n=" + std::to_string(c.n) + " k=" + std::to_string(c.k) +
              " act=" + std::to_string(static_cast<int>(c.activation)) +
              " outliers=" + std::to_string(c.outliers.size()) + (c.start ? " start" : "") +
              (c.fixed ? " fixed" : "");
    for (int64_t i = 0; i < x.size(); ++i) {
      x[i] = c.extreme ? (random.below(9) ? c.high : 0) : random.uniform(c.low, c.high);
    }
    for (int64_t i = 0; i < w.size(); ++i) {
      w[i] = c.extreme ? (random.below(9) ? -1.27f : 1.27f) : random.uniform();
    }
    fill(bias, random);
    fill(starts, random);
    for (int64_t r = 0; r < c.rows; ++r) {
      start_of_row[r] = static_cast<int32_t>(random.below(c.rows / 3 + 1));
    }
    for (const int32_t o : c.outliers) {
      for (int64_t r = 0; r < c.rows; ++r) x[r * x_stride + o] *= 1000.0f;
    }
  }

  int64_t x_stride, w_stride;
  Guarded<float> x, w, bias, starts;
  Guarded<int32_t> start_of_row;
  Random random;
};

float want(const Layer& layer, const Case& c, const Twin& twin, int64_t r, int64_t j) {
  const float* x = layer.x.data() + r * layer.x_stride;
  float low = 0, high = 0;
  bool finite = true;
  for (int64_t i = 0; i < c.k; ++i) {
    finite = finite && std::isfinite(x[i]);
    if (contains(c.outliers, i)) continue;
    low = std::fmin(low, x[i]);
    high = std::fmax(high, x[i]);
  }
  if (!finite) return std::numeric_limits<float>::quiet_NaN();
  const RowScale8 s = c.fixed ? scale_of(c.low * c.part, c.high * c.part) : scale_of(low, high);
  int64_t sum = 0;
  for (int64_t i = 0; i < c.k; ++i) {
    const float clamped = std::fmin(std::fmax(x[i] * s.inverse, -s.zero), 255.0f - s.zero);
    sum += static_cast<int64_t>(std::nearbyint(clamped)) * twin.w8[j * c.k + i];
  }
  CHECK(std::llabs(sum) < (int64_t{1} << 31));
  const float combined = s.step * twin.scale[j];
  float y = static_cast<float>(static_cast<int32_t>(sum)) * combined;
  if (c.start) y = layer.starts[layer.start_of_row[r] * c.n + j] + y;
  for (const int32_t o : c.outliers) {
    const volatile float product = x[o] * layer.w[j * layer.w_stride + o];
    y = y + product;
  }
  if (c.bias) y = y + layer.bias[j];
  switch (c.activation) {
    case Activation::none:
      return y;
    case Activation::relu:
      return y > 0 || std::isnan(y) ? y : 0;
    case Activation::sigmoid:
      return static_cast<float>(1 / (1 + std::exp(-static_cast<double>(y))));
    case Activation::tanh:
      return static_cast<float>(std::tanh(static_cast<double>(y)));
  }
  return y;
}

void check_layer(Isa isa, const Case& c) {
  const Gemm8Kernels& kernels = gemm8_kernels(isa);
  const Layer layer(isa, c);
  const Packed packed(kernels, layer.w, c.n, c.k, layer.w_stride, c.outliers);
  const Twin twin = quantise_weights(layer.w.data(), c.n, c.k, layer.w_stride, c.outliers);
  const RowScale8 fixed = kernels.row_scale(c.low * c.part, c.high * c.part);
  Output out(c.rows, c.n, c.n + 7);
  Gemm8Args args = {.x = layer.x.data(),
                    .rows = c.rows,
                    .x_stride = layer.x_stride,
                    .layer = &packed.layer,
                    .first = 0,
                    .n = c.n,
                    .range = c.fixed ? &fixed : nullptr,
                    .bias = c.bias ? layer.bias.data() : nullptr,
                    .activation = c.activation,
                    .out = out.data(),
                    .out_stride = c.n + 7,
                    .start = c.start ? layer.starts.data() : nullptr,
                    .start_stride = c.n,
                    .start_of_row = layer.start_of_row.data()};
  kernels.gemm_u8s8(args);
  out.check_canaries();
  for (int64_t r = 0; r < c.rows; ++r) {
    for (int64_t j = 0; j < c.n; ++j) {
      const float y = want(layer, c, twin, r, j);
      if (c.activation <= Activation::relu) {
        const bool same = out.at(r, j) == y || (std::isnan(y) && std::isnan(out.at(r, j)));
        if (!same) CHECK_EQ(out.at(r, j), y);
      } else {
        CHECK_NEAR(out.at(r, j), y, 4e-7);
      }
    }
  }
  // Each row alone, and each run of panels alone, gives the same bits.
  Output alone(1, c.n, c.n);
  for (int64_t r = 0; r < c.rows; r += c.rows > 100 ? 97 : 1) {
    Gemm8Args part = args;
    part.x = args.x + r * layer.x_stride;
    part.rows = 1;
    part.start_of_row = layer.start_of_row.data() + r;
    for (int64_t j = 0; j < c.n; j += kernels.panel) {
      part.first = j;
      part.n = std::min(kernels.panel, c.n - j);
      part.out = alone.data() + j;
      if (c.bias) part.bias = layer.bias.data() + j;
      if (c.start) part.start = layer.starts.data() + j;
      kernels.gemm_u8s8(part);
    }
    CHECK_SAME_BITS(out.row(r), alone.data(), c.n);
  }
}

// A row that is not finite gives NaN, whatever the activation, and spoils no other.
void check_not_finite(Isa isa, float bad, int64_t at, bool fixed, Activation activation) {
  const Case c = {.rows = 5, .n = 35, .k = 40, .activation = activation, .outliers = {7}};
  const Gemm8Kernels& kernels = gemm8_kernels(isa);
  Layer layer(isa, c);
  context += " bad=" + std::to_string(bad) + " at=" + std::to_string(at);
  const Packed packed(kernels, layer.w, c.n, c.k, layer.w_stride, c.outliers);
  const RowScale8 range = kernels.row_scale(-1, 1);
  Output good(c.rows, c.n, c.n), out(c.rows, c.n, c.n);
  Gemm8Args args = {.x = layer.x.data(),
                    .rows = c.rows,
                    .x_stride = layer.x_stride,
                    .layer = &packed.layer,
                    .first = 0,
                    .n = c.n,
                    .range = fixed ? &range : nullptr,
                    .bias = nullptr,
                    .activation = activation,
                    .out = good.data(),
                    .out_stride = c.n};
  kernels.gemm_u8s8(args);
  layer.x[2 * layer.x_stride + at] = bad;
  args.out = out.data();
  kernels.gemm_u8s8(args);
  for (int64_t r = 0; r < c.rows; ++r) {
    if (r != 2) {
      CHECK_SAME_BITS(out.row(r), good.row(r), c.n);
      continue;
    }
    for (int64_t j = 0; j < c.n; ++j) CHECK(std::isnan(out.at(r, j)));
  }
}

void check_weights_not_finite(Isa isa) {
  const Gemm8Kernels& kernels = gemm8_kernels(isa);
  const Case c = {.rows = 2, .n = 3, .k = 9};
  Layer layer(isa, c);
  layer.w[layer.w_stride + 4] = std::numeric_limits<float>::infinity();
  const Packed packed(kernels, layer.w, c.n, c.k, layer.w_stride, {});
  Output out(c.rows, c.n, c.n);
  kernels.gemm_u8s8({.x = layer.x.data(),
                     .rows = c.rows,
                     .x_stride = layer.x_stride,
                     .layer = &packed.layer,
                     .first = 0,
                     .n = c.n,
                     .range = nullptr,
                     .bias = nullptr,
                     .activation = Activation::none,
                     .out = out.data(),
                     .out_stride = c.n});
  for (int64_t r = 0; r < c.rows; ++r) {
    CHECK(std::isfinite(out.at(r, 0)) && std::isnan(out.at(r, 1)) && std::isfinite(out.at(r, 2)));
  }
}

void run(Isa isa) {
  for (int64_t n : {0, 1, 3, 8, 15, 16, 17, 31, 32, 33, 48, 64, 65, 129, 257}) {
    for (int64_t k : {0, 1, 2, 3, 4, 5, 16, 31, 67}) check_layer(isa, {.rows = 9, .n = n, .k = k});
  }
  for (int64_t rows : {0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15, 28, 29, 71, 1000}) {
    for (int64_t n : {1, 33, 130}) {
      check_layer(isa,
                  {.rows = rows, .n = n, .k = 37, .activation = Activation::relu, .bias = true});
      check_layer(isa, {.rows = rows, .n = n, .k = 37, .bias = true, .start = true});
    }
  }
  for (Activation activation :
       {Activation::none, Activation::relu, Activation::sigmoid, Activation::tanh}) {
    for (bool fixed : {false, true}) {
      for (bool start : {false, true}) {
        for (std::vector<int32_t> outliers :
             {std::vector<int32_t>{}, {0}, {3, 4, 17}, {0, 1, 2, 18}}) {
          Case c = {.rows = 17,
                    .n = 45,
                    .k = 19,
                    .activation = activation,
                    .bias = true,
                    .outliers = outliers,
                    .fixed = fixed,
                    .start = start};
          check_layer(isa, c);
          c.low = 0.25f;  // no zero among the values: the range takes it in
          check_layer(isa, c);
          c.low = -3e38f;
          c.high = 3e38f;
          if (activation == Activation::none && outliers.empty()) check_layer(isa, c);
          c.low = c.high = 0;
          check_layer(isa, c);
          c.high = 1e-37f;
          check_layer(isa, c);
        }
      }
    }
  }
  // Values past a fixed range: some steps, past int16, past int32, and past float32.
  for (float part : {0.2f, 1e-2f, 2e-3f, 1e-6f, 1e-10f, 1e-30f}) {
    for (int64_t k : {15, 64, 150, 1100}) {
      for (float high : {0.0f, 1.0f, 3e20f}) {
        check_layer(isa, {.rows = 18,
                          .n = 20,
                          .k = k,
                          .outliers = {2},
                          .fixed = true,
                          .low = -high / 3,
                          .high = high,
                          .part = part});
      }
    }
  }
  // Outliers past anything beside small values.
  check_layer(isa, {.rows = 3, .n = 9, .k = 70, .outliers = {1, 66}, .high = 1e-30f});
  // Passes over a long k, some of which end inside a group or a vector.
  for (int64_t k : {511, 512, 513, 1024, 1025, 1100, 2048, 2049, 2051, 4100}) {
    for (int64_t n : {5, 16, 33}) {
      check_layer(isa, {.rows = 16,
                        .n = n,
                        .k = k,
                        .activation = Activation::relu,
                        .bias = true,
                        .outliers = {1, 2047 % static_cast<int32_t>(k)}});
      check_layer(isa, {.rows = 3, .n = n, .k = k, .fixed = true, .start = true});
    }
  }
  // The largest sums there are, where saturating instructions would go wrong.
  for (int64_t k : {4, 64, 2052, int(kMaxK)}) {
    for (int64_t rows : {1, 15}) {
      check_layer(isa, {.rows = rows, .n = 20, .k = k, .high = 255, .extreme = true});
    }
  }
  for (float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                    -std::numeric_limits<float>::infinity()}) {
    for (int64_t at : {0, 7, 16, 39}) {
      for (bool fixed : {false, true}) {
        check_not_finite(isa, bad, at, fixed, Activation::relu);
        check_not_finite(isa, bad, at, fixed, Activation::sigmoid);
      }
    }
  }
  check_weights_not_finite(isa);
}

}  // namespace
}  // namespace recstack::test

int main() {
  for (recstack::Isa isa : recstack::supported_isas()) recstack::test::run(isa);
  return recstack::test::finish();
}
