#include "kernels/gemm/gemm.h"

#include <algorithm>
#include <limits>

#include "check.h"
#include "guarded.h"
#include "rounding.h"

namespace recstack::test {
namespace {

double activated(Activation activation, double x) {
  switch (activation) {
    case Activation::none:
      return x;
    case Activation::relu:
      return x > 0 ? x : 0;
    case Activation::sigmoid:
      return 1 / (1 + std::exp(-x));
    case Activation::tanh:
      return std::tanh(x);
  }
  return x;
}

struct Packed {
  Packed(const LayerKernels& kernels, const Guarded<float>& w, int64_t n, int64_t k, int64_t stride)
      : size((kernels.packed_bytes(n, k) + 3) / 4), storage(size + 32) {
    data = storage.data();
    while (reinterpret_cast<uintptr_t>(data) % 64 != 0) ++data;
    for (int i = 0; i < 8; ++i) data[size + i] = 77.0f;
    kernels.pack(w.data(), n, k, stride, data);
    for (int i = 0; i < 8; ++i) CHECK_EQ(data[size + i], 77.0f);
  }
  size_t size;
  std::vector<float> storage;
  float* data;
};

void check_layer(Isa isa, WeightFormat format, int64_t rows, int64_t n, int64_t k,
                 Activation activation, bool with_bias) {
  context = std::string(isa_name(isa)) + " " + kNames[static_cast<int>(format)] +
            " rows=" + std::to_string(rows) + " n=" + std::to_string(n) +
            " k=" + std::to_string(k) + " act=" + std::to_string(static_cast<int>(activation));
  const LayerKernels& kernels = gemm_kernels(isa).of(format);
  Random random(static_cast<uint64_t>(rows * 1000003 + n * 1009 + k));
  const int64_t x_stride = k + 3, w_stride = k + 5, out_stride = n + 7;
  Guarded<float> x(rows > 0 ? (rows - 1) * x_stride + k : 0);
  Guarded<float> w(n > 0 ? (n - 1) * w_stride + k : 0), bias(n);
  fill(x, random);
  fill(w, random);
  fill(bias, random);
  const Packed packed(kernels, w, n, k, w_stride);
  Output out(rows, n, out_stride);
  GemmArgs args = {x.data(),
                   rows,
                   k,
                   x_stride,
                   packed.data,
                   n,
                   with_bias ? bias.data() : nullptr,
                   activation,
                   out.data(),
                   out_stride};
  kernels.gemm(args);
  out.check_canaries();
  const std::vector<float> inputs = as_inputs(format, x.data(), x.size());
  const std::vector<float> weights = as_weights(format, w.data(), w.size());
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0;
      for (int64_t i = 0; i < k; ++i) {
        sum += static_cast<double>(inputs[static_cast<size_t>(r * x_stride + i)]) *
               weights[static_cast<size_t>(j * w_stride + i)];
      }
      if (with_bias) sum += bias[j];
      CHECK_NEAR(out.at(r, j), activated(activation, sum), 2e-7 * static_cast<double>(k + 8));
    }
  }
  // Each row alone gives the same bits, whichever inner loop it then takes.
  Output alone(1, n, n);
  for (int64_t r = 0; r < rows; ++r) {
    args.x = x.data() + r * x_stride;
    args.rows = 1;
    args.out = alone.data();
    kernels.gemm(args);
    CHECK_SAME_BITS(out.row(r), alone.data(), n);
  }
}

// The chain itself: one fused (in scalar: rounded twice) step per i, in the format's order. bf16
// gives one answer on all sets.
void check_chain(Isa isa, WeightFormat format, int64_t k) {
  const int64_t n = 35, rows = 20;
  Random random(5);
  Guarded<float> x(rows * k), w(n * k);
  fill(x, random);
  fill(w, random);
  const LayerKernels& kernels = gemm_kernels(isa).of(format);
  const Packed packed(kernels, w, n, k, k);
  Output out(rows, n, n);
  kernels.gemm({x.data(), rows, k, k, packed.data, n, nullptr, Activation::none, out.data(), n});
  context = std::string(isa_name(isa)) + " chain " + kNames[static_cast<int>(format)];
  const std::vector<float> inputs = as_inputs(format, x.data(), rows * k);
  const std::vector<float> weights = as_weights(format, w.data(), n * k);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t j = 0; j < n; ++j) {
      const float want = chain(isa, format, inputs.data() + r * k, weights.data() + j * k, k);
      CHECK_SAME_BITS(out.row(r) + j, &want, 1);
    }
  }
}

// One product over all columns of x equals, bit for bit, one over the first of them whose chains
// the product over the others goes on with; rows take their starts in any order, some of them
// shared.
void check_start(Isa isa, WeightFormat format, int64_t rows, int64_t n, int64_t k_first,
                 int64_t k_second, Activation activation) {
  const int64_t k = k_first + k_second;
  context = std::string(isa_name(isa)) + " " + kNames[static_cast<int>(format)] +
            " start rows=" + std::to_string(rows) + " n=" + std::to_string(n) +
            " k=" + std::to_string(k_first) + "+" + std::to_string(k_second) +
            " act=" + std::to_string(static_cast<int>(activation));
  const LayerKernels& kernels = gemm_kernels(isa).of(format);
  Random random(static_cast<uint64_t>(rows * 7919 + n * 31 + k));
  const int64_t queries = rows / 3 + 1;
  Guarded<float> x(rows * k), w(n * k), bias(n);
  Guarded<int32_t> query_of_row(rows);
  fill(x, random);
  fill(w, random);
  fill(bias, random);
  Guarded<float> firsts(queries * k_first);
  fill(firsts, random);
  for (int64_t r = 0; r < rows; ++r) {
    query_of_row[r] = static_cast<int32_t>(random.below(queries));
    for (int64_t i = 0; i < k_first; ++i) x[r * k + i] = firsts[query_of_row[r] * k_first + i];
  }
  Guarded<float> w_first(n * k_first), w_second(n * k_second);
  for (int64_t j = 0; j < n; ++j) {
    for (int64_t i = 0; i < k_first; ++i) w_first[j * k_first + i] = w[j * k + i];
    for (int64_t i = 0; i < k_second; ++i) w_second[j * k_second + i] = w[j * k + k_first + i];
  }
  const Packed whole(kernels, w, n, k, k), first(kernels, w_first, n, k_first, k_first),
      second(kernels, w_second, n, k_second, k_second);
  Output want(rows, n, n + 3), got(rows, n, n + 5), sums(queries, n, n + 2);
  GemmArgs args = {x.data(), rows,        k,          k,           whole.data,
                   n,        bias.data(), activation, want.data(), n + 3};
  kernels.gemm(args);
  kernels.gemm({firsts.data(), queries, k_first, k_first, first.data, n, nullptr, Activation::none,
                sums.data(), n + 2});
  args.x = x.data() + k_first;
  args.k = k_second;
  args.packed = second.data;
  args.out = got.data();
  args.out_stride = n + 5;
  args.start = sums.data();
  args.start_stride = n + 2;
  args.start_of_row = query_of_row.data();
  kernels.gemm(args);
  got.check_canaries();
  for (int64_t r = 0; r < rows; ++r) CHECK_SAME_BITS(got.row(r), want.row(r), n);
}

void check_matmul(Isa isa, int64_t m, int64_t k, int64_t n, bool transposed) {
  context = std::string(isa_name(isa)) + " matmul m=" + std::to_string(m) +
            " k=" + std::to_string(k) + " n=" + std::to_string(n) +
            (transposed ? " transposed" : "");
  Random random(static_cast<uint64_t>(m * 31 + k * 7 + n));
  const int64_t a_stride = k + 2, wide = (transposed ? k : n) + 3;
  Guarded<float> a(m > 0 ? (m - 1) * a_stride + k : 0);
  const int64_t b_rows = transposed ? n : k, b_width = transposed ? k : n;
  Guarded<float> b(b_rows > 0 ? (b_rows - 1) * wide + b_width : 0);
  fill(a, random);
  fill(b, random);
  const int64_t row_stride = transposed ? 1 : wide, col_stride = transposed ? wide : 1;
  Output out(m, n, n + 4), alone(1, n, n);
  gemm_kernels(isa).matmul_f32(a.data(), m, k, a_stride, b.data(), row_stride, col_stride, n,
                               out.data(), n + 4);
  out.check_canaries();
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0;
      for (int64_t t = 0; t < k; ++t) {
        sum += static_cast<double>(a[i * a_stride + t]) * b[t * row_stride + j * col_stride];
      }
      CHECK_NEAR(out.at(i, j), sum, 2e-7 * static_cast<double>(k + 8));
    }
    gemm_kernels(isa).matmul_f32(a.data() + i * a_stride, 1, k, a_stride, b.data(), row_stride,
                                 col_stride, n, alone.data(), n);
    CHECK_SAME_BITS(out.row(i), alone.data(), n);
  }
}

// What passes through a layer beside numbers: NaN and infinities, in an input or in a weight.
void check_not_finite(Isa isa, WeightFormat format) {
  context = std::string(isa_name(isa)) + " " + kNames[static_cast<int>(format)] + " not finite";
  const float infinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const LayerKernels& kernels = gemm_kernels(isa).of(format);
  for (int64_t n : {1, 40}) {
    for (int64_t k : {5, 40}) {
      for (int64_t rows : {1, 5, 20}) {
        Guarded<float> x(rows * k), w(n * k);
        for (int64_t i = 0; i < x.size(); ++i) x[i] = 0.5f;
        for (int64_t i = 0; i < w.size(); ++i) w[i] = 0.25f;
        x[(rows - 1) * k + k - 1] = infinity;
        w[0] = -infinity;
        const Packed packed(kernels, w, n, k, k);
        Output out(rows, n, n);
        kernels.gemm(
            {x.data(), rows, k, k, packed.data, n, nullptr, Activation::none, out.data(), n});
        for (int64_t r = 0; r < rows; ++r) {
          for (int64_t j = 0; j < n; ++j) {
            const double of_x = r == rows - 1 ? infinity : 0.125;
            CHECK_NEAR(out.at(r, j), j == 0 ? -infinity + of_x : of_x * k, 0);
          }
        }
        x[0] = nan;
        kernels.gemm(
            {x.data(), rows, k, k, packed.data, n, nullptr, Activation::relu, out.data(), n});
        for (int64_t j = 0; j < n; ++j) CHECK_NEAR(out.at(0, j), nan, 0);
      }
    }
  }
}

// Rounding of weights, one by one: ties, denormals, the largest and what lies past it.
void check_rounding(Isa isa, WeightFormat format) {
  context = std::string(isa_name(isa)) + " rounding " + kNames[static_cast<int>(format)];
  const bool half = format == WeightFormat::fp16;
  const float infinity = std::numeric_limits<float>::infinity();
  Random random(11);
  const LayerKernels& kernels = gemm_kernels(isa).of(format);
  for (int64_t at = 0; at < 3000; ++at) {
    Guarded<float> x(1), w(1);
    x[0] = 1;
    const uint32_t exponent =
        static_cast<uint32_t>(half ? 100 + random.below(45) : 20 + random.below(220));
    const uint32_t bits = static_cast<uint32_t>(random.next() >> 63) << 31 | exponent << 23 |
                          (at % 3 ? static_cast<uint32_t>(random.next() >> 41)
                                  : static_cast<uint32_t>(random.below(2048)) << 12);
    std::memcpy(w.data(), &bits, sizeof bits);
    const Packed packed(kernels, w, 1, 1, 1);
    Output out(1, 1, 1);
    kernels.gemm({x.data(), 1, 1, 1, packed.data, 1, nullptr, Activation::none, out.data(), 1});
    const float want = as_weight(format, w[0]);
    CHECK_EQ(out.at(0, 0), half && std::fabs(want) > 65504 ? std::copysign(infinity, want) : want);
  }
}

// Denormals count, as inputs, weights, starts and results, but for bf16 on avx512_bf16, where they
// are 0 and spoil nothing beside them.
void check_denormals(Isa isa, WeightFormat format) {
  const bool lost = isa == Isa::avx512_bf16 && format == WeightFormat::bf16;
  // fp16's least weight is 2^-24, and no product of one is denormal that bf16's would not be.
  const float least = format == WeightFormat::fp16 ? 0x1p-24f : 0x1p-130f;
  const bool lost_weight = lost && least < 0x1p-126f;
  const struct {
    const char* what;
    float x, w, start, want;
  } cases[] = {
      {"input", 0x1p-130f, 0x1p8f, 0, lost ? 0 : 0x1p-122f},
      {"weight", 0x1p10f, least, 0, lost_weight ? 0 : least * 0x1p10f},
      {"result", 0x1p-120f, 0x1p-10f, 0, lost ? 0 : 0x1p-130f},
      {"start", 0, 0, 0x1p-130f, lost ? 0 : 0x1p-130f},
      {"least normal", 0x1p-116f, 0x1p-10f, 0, 0x1p-126f},
      {"normal beside", 0x1p-130f, 1, 1, 1},
  };
  const LayerKernels& kernels = gemm_kernels(isa).of(format);
  for (const auto& c : cases) {
    for (int64_t n : {1, 40}) {
      for (int64_t rows : {1, 20}) {
        for (int64_t k : {1, 2, 21}) {
          context = std::string(isa_name(isa)) + " " + kNames[static_cast<int>(format)] +
                    " denormal " + c.what + " rows=" + std::to_string(rows) +
                    " n=" + std::to_string(n) + " k=" + std::to_string(k);
          Guarded<float> x(rows * k), w(n * k), starts(rows * n);
          Guarded<int32_t> start_of_row(rows);
          for (int64_t i = 0; i < x.size(); ++i) x[i] = i % k == k - 1 ? c.x : 0;
          for (int64_t i = 0; i < w.size(); ++i) w[i] = i % k == k - 1 ? c.w : 0;
          for (int64_t i = 0; i < starts.size(); ++i) starts[i] = c.start;
          for (int64_t r = 0; r < rows; ++r) start_of_row[r] = static_cast<int32_t>(r);
          const Packed packed(kernels, w, n, k, k);
          Output out(rows, n, n);
          GemmArgs args = {x.data(),         rows,       k, k, packed.data, n, nullptr,
                           Activation::none, out.data(), n};
          if (c.start != 0) {
            args.start = starts.data();
            args.start_stride = n;
            args.start_of_row = start_of_row.data();
          }
          kernels.gemm(args);
          for (int64_t i = 0; i < rows * n; ++i) CHECK_EQ(out.at(i / n, i % n), c.want);
        }
      }
    }
  }
}

void run_formats(Isa isa) {
  for (WeightFormat format : kFormats) {
    for (int64_t n : {0, 1, 2, 3, 4, 5, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 129, 257}) {
      for (int64_t k : {0, 1, 2, 13, 32, 100}) {
        check_layer(isa, format, 19, n, k, Activation::relu, true);
      }
    }
    for (int64_t rows = 0; rows <= 34; ++rows) {
      for (int64_t n : {1, 2, 36, 131}) {
        check_layer(isa, format, rows, n, 33, Activation::sigmoid, true);
      }
    }
    for (int64_t rows : {1, 3, 15, 17, 57, 65, 100, 257}) {
      check_layer(isa, format, rows, 100, 64, Activation::tanh, false);
    }
    // k past one pass of the blocking: the chain resumes.
    for (int64_t k : {511, 512, 513, 1024, 1300}) {
      for (int64_t n : {1, 20, 77}) {
        for (auto activation : {Activation::none, Activation::relu, Activation::sigmoid}) {
          check_layer(isa, format, 16, n, k, activation, true);
        }
      }
    }
    // Few rows take a longer pass, one row all of k.
    for (int64_t rows : {1, 2, 6, 7}) {
      for (int64_t k : {4096, 4101, 8195}) {
        check_layer(isa, format, rows, 37, k, Activation::relu, true);
      }
    }
    for (int64_t k : {1100, 77}) check_chain(isa, format, k);
    const int64_t first = format == WeightFormat::bf16 ? 8 : 7;  // pairs stay together
    for (int64_t n : {1, 2, 3, 4, 5, 16, 17, 32, 33, 40, 64, 100, 131}) {
      for (int64_t rows : {1, 2, 5, 16, 29, 80, 150}) {
        check_start(isa, format, rows, n, first, 20, Activation::relu);
      }
      check_start(isa, format, 0, n, 4, 4, Activation::none);
      check_start(isa, format, 17, n, 600, 521, Activation::sigmoid);
      check_start(isa, format, 3, n, 6, 0, Activation::tanh);
    }
    check_not_finite(isa, format);
    check_denormals(isa, format);
    if (format != WeightFormat::fp32) check_rounding(isa, format);
  }
}

void run(Isa isa) {
  run_formats(isa);
  for (bool transposed : {false, true}) {
    for (int64_t m : {0, 1, 3, 4, 9}) {
      for (int64_t n : {0, 1, 5, 16, 17, 33, 65}) {
        for (int64_t k : {0, 1, 16, 31, 127, 129, 300}) check_matmul(isa, m, k, n, transposed);
      }
    }
  }
}

}  // namespace
}  // namespace recstack::test

int main() {
  for (recstack::Isa isa : recstack::supported_isas()) recstack::test::run(isa);
  return recstack::test::finish();
}
