#include "kernels/act/act.h"

#include <limits>

#include "check.h"
#include "guarded.h"

namespace recstack::test {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr int64_t kSizes[] = {0, 1, 2, 3, 15, 16, 17, 31, 33, 63, 65, 100, 257};

struct UnaryCase {
  Unary fn;
  const char* name;
  double (*exact)(double);
  double ulps;
  double slack;  // absolute, for functions whose formula cancels
};

double softplus(double x) { return (x > 0 ? x : 0) + std::log1p(std::exp(-std::fabs(x))); }
double gelu_tanh(double x) {
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}
double sign(double x) { return std::isnan(x) ? x : (x > 0) - (x < 0); }

const UnaryCase kUnary[] = {
    {Unary::relu, "relu", [](double x) { return x > 0 || std::isnan(x) ? x : 0.0; }, 0, 0},
    {Unary::sigmoid, "sigmoid", [](double x) { return 1 / (1 + std::exp(-x)); }, 8, 0},
    {Unary::tanh, "tanh", [](double x) { return std::tanh(x); }, 8, 0},
    {Unary::exp, "exp", [](double x) { return std::exp(x); }, 4, 0},
    {Unary::log, "log", [](double x) { return std::log(x); }, 4, 0},
    {Unary::sqrt, "sqrt", [](double x) { return std::sqrt(x); }, 1, 0},
    {Unary::abs, "abs", [](double x) { return std::fabs(x); }, 0, 0},
    {Unary::neg, "neg", [](double x) { return -x; }, 0, 0},
    {Unary::reciprocal, "reciprocal", [](double x) { return 1 / x; }, 1, 0},
    {Unary::square, "square", [](double x) { return x * x; }, 1, 0},
    {Unary::gelu, "gelu", [](double x) { return 0.5 * x * (1 + std::erf(x / std::sqrt(2))); }, 8,
     1e-6},
    {Unary::gelu_tanh, "gelu_tanh", gelu_tanh, 16, 1e-6},
    {Unary::silu, "silu", [](double x) { return x / (1 + std::exp(-x)); }, 8, 3e-37},
    {Unary::softplus, "softplus", softplus, 8, 0},
    {Unary::elu, "elu", [](double x) { return x > 0 ? x : std::expm1(x); }, 16, 0},
    {Unary::erf, "erf", [](double x) { return std::erf(x); }, 4, 0},
    {Unary::rsqrt, "rsqrt", [](double x) { return 1 / std::sqrt(x); }, 2, 0},
    {Unary::sign, "sign", sign, 0, 0},
    {Unary::floor, "floor", [](double x) { return std::floor(x); }, 0, 0},
    {Unary::sin, "sin", [](double x) { return std::sin(x); }, 2, 0},
    {Unary::cos, "cos", [](double x) { return std::cos(x); }, 2, 0},
};

// One unit in the last place of float at x; results under the normal range may also be 0.
double ulp(double x) {
  const float size = std::fabs(static_cast<float>(x));
  return std::isinf(size) ? 0 : static_cast<double>(std::nextafterf(size, kInf)) - size;
}

void check_unary_at(const UnaryCase& c, float x, float got) {
  double want = c.exact(static_cast<double>(x));
  if (std::fabs(want) > static_cast<double>(std::numeric_limits<float>::max())) {
    want = static_cast<double>(static_cast<float>(want));
  }
  if (std::fabs(want) < 1.18e-38 && got == 0) return;
  if (std::isnan(want) || std::isinf(want)) {
    CHECK_NEAR(got, want, 0);
  } else if (!(std::fabs(got - want) <= c.ulps * ulp(want) + c.slack)) {
    char what[200];
    std::snprintf(what, sizeof what, "%s(%.9g): got %.9g, expected %.9g, %.1f ulp", c.name,
                  static_cast<double>(x), static_cast<double>(got), want,
                  std::fabs(got - want) / ulp(want));
    report(false, __FILE__, __LINE__, what);
  }
}

void check_unary(Isa isa, const UnaryCase& c) {
  context = std::string(isa_name(isa)) + " " + c.name;
  std::vector<float> points = {0.0f,     -0.0f,   1.0f,    -1.0f,
                               0.5f,     0.625f,  88.7f,   88.73f,
                               -87.4f,   -103.9f, -104.5f, 1e-38f,
                               1e-40f,   1e-45f,  -1e-45f, 3.4e38f,
                               -3.4e38f, kInf,    -kInf,   std::numeric_limits<float>::quiet_NaN()};
  Random random(11);
  for (float reach : {0.01f, 1.0f, 10.0f, 110.0f}) {
    for (int i = 0; i < 20000; ++i) points.push_back(random.uniform(-reach, reach));
  }
  for (int i = 0; i < 20000; ++i) points.push_back(std::exp2(random.uniform(-149, 127)));
  const auto n = static_cast<int64_t>(points.size());
  std::vector<float> out(points.size());
  act_kernels(isa).unary_f32(c.fn, points.data(), n, out.data());
  for (size_t i = 0; i < points.size(); ++i) {
    // silu(-inf) is -inf / inf by its formula.
    if (c.fn == Unary::silu && std::isinf(points[i])) continue;
    check_unary_at(c, points[i], out[i]);
  }
  // Every size ends at a guard page, gives the same bits, and works in place.
  for (int64_t size : kSizes) {
    Guarded<float> x(size);
    for (int64_t i = 0; i < size; ++i) x[i] = points[static_cast<size_t>(i + 20)];
    Guarded<float> y(size);
    act_kernels(isa).unary_f32(c.fn, x.data(), size, y.data());
    act_kernels(isa).unary_f32(c.fn, x.data(), size, x.data());
    CHECK_SAME_BITS(y.data(), out.data() + 20, size);
    CHECK_SAME_BITS(x.data(), out.data() + 20, size);
  }
}

struct BinaryCase {
  Binary fn;
  float (*exact)(float, float);
};

const BinaryCase kBinary[] = {
    {Binary::add, [](float a, float b) { return a + b; }},
    {Binary::sub, [](float a, float b) { return a - b; }},
    {Binary::mul, [](float a, float b) { return a * b; }},
    {Binary::div, [](float a, float b) { return a / b; }},
    {Binary::pow, [](float a, float b) { return powf(a, b); }},
    {Binary::maximum, [](float a, float b) { return std::isnan(a) || a > b ? a : b; }},
    {Binary::minimum, [](float a, float b) { return std::isnan(a) || a < b ? a : b; }},
    {Binary::eq, [](float a, float b) { return a == b ? 1.0f : 0.0f; }},
    {Binary::ne, [](float a, float b) { return a != b ? 1.0f : 0.0f; }},
    {Binary::lt, [](float a, float b) { return a < b ? 1.0f : 0.0f; }},
    {Binary::le, [](float a, float b) { return a <= b ? 1.0f : 0.0f; }},
    {Binary::gt, [](float a, float b) { return a > b ? 1.0f : 0.0f; }},
    {Binary::ge, [](float a, float b) { return a >= b ? 1.0f : 0.0f; }},
};

void check_binary(Isa isa, const BinaryCase& c, int64_t n, int64_t a_step, int64_t b_step) {
  context = std::string(isa_name(isa)) + " binary " + std::to_string(static_cast<int>(c.fn)) +
            " n=" + std::to_string(n);
  Guarded<float> a(a_step ? n : 1), b(b_step ? n : 1), out(n);
  Random random(static_cast<uint64_t>(n));
  const float odd[] = {0.0f, 1.0f, kInf, -kInf, std::numeric_limits<float>::quiet_NaN(), -2.0f};
  const auto draw = [&] {
    return random.below(3) == 0 ? odd[random.below(6)] : random.uniform(-3, 3);
  };
  for (int64_t i = 0; i < a.size(); ++i) a[i] = draw();
  for (int64_t i = 0; i < b.size(); ++i) b[i] = draw();
  act_kernels(isa).binary_f32(c.fn, a.data(), a_step, b.data(), b_step, n, out.data());
  for (int64_t i = 0; i < n; ++i) {
    CHECK_NEAR(out[i], c.exact(a[i * a_step], b[i * b_step]), 0);
  }
}

void check_ternary(Isa isa, int64_t n) {
  context = std::string(isa_name(isa)) + " n=" + std::to_string(n);
  const ActKernels& act = act_kernels(isa);
  Random random(static_cast<uint64_t>(n) + 3);
  Guarded<float> x(n), a(n), b(n), c(n), out(n);
  fill(x, random);
  fill(a, random);
  fill(b, random);
  fill(c, random);
  if (n > 2) x[2] = std::numeric_limits<float>::quiet_NaN();
  act.clamp_f32(x.data(), n, -0.25f, 0.5f, out.data());
  for (int64_t i = 0; i < n; ++i) {
    CHECK_NEAR(out[i], std::isnan(x[i]) ? x[i] : std::fmax(std::fmin(x[i], 0.5f), -0.25f), 0);
  }
  for (int64_t i = 0; i < n; ++i) c[i] = i % 3 == 0 ? 0.0f : c[i];
  const float single = 4.0f;
  act.where_f32(c.data(), 1, a.data(), 1, &single, 0, n, out.data());
  for (int64_t i = 0; i < n; ++i) CHECK_EQ(out[i], c[i] != 0 ? a[i] : single);
  fill(x, random);
  act.affine_f32(x.data(), a.data(), b.data(), n, out.data());
  for (int64_t i = 0; i < n; ++i) CHECK_NEAR(out[i], static_cast<double>(x[i]) * a[i] + b[i], 3e-7);
  act.prelu_f32(x.data(), a.data(), 1, n, out.data());
  for (int64_t i = 0; i < n; ++i) CHECK_EQ(out[i], x[i] > 0 ? x[i] : a[i] * x[i]);
  act.dice_f32(x.data(), a.data(), b.data(), c.data(), n, out.data());
  for (int64_t i = 0; i < n; ++i) {
    const double p = 1 / (1 + std::exp(-(static_cast<double>(x[i]) * a[i] + b[i])));
    CHECK_NEAR(out[i], x[i] * (p + c[i] * (1 - p)), 1e-6);
  }
}

double reduced(Reduce fn, const std::vector<double>& x) {
  double sum = 0, squares = 0, product = 1, top = -kInf, low = kInf;
  for (double v : x) {
    sum += v;
    squares += v * v;
    product *= v;
    top = std::fmax(top, v);
    low = std::fmin(low, v);
  }
  switch (fn) {
    case Reduce::sum:
      return sum;
    case Reduce::mean:
      return sum / static_cast<double>(x.size());
    case Reduce::max:
      return top;
    case Reduce::min:
      return low;
    case Reduce::norm2:
      return std::sqrt(squares);
    case Reduce::prod:
      return product;
  }
  return 0;
}

void check_reductions(Isa isa, int64_t n) {
  context = std::string(isa_name(isa)) + " reductions n=" + std::to_string(n);
  const ActKernels& act = act_kernels(isa);
  Random random(static_cast<uint64_t>(n) + 9);
  for (Reduce fn :
       {Reduce::sum, Reduce::mean, Reduce::max, Reduce::min, Reduce::norm2, Reduce::prod}) {
    Guarded<float> x(n), apart(n > 0 ? (n - 1) * 3 + 1 : 0);
    std::vector<double> exact;
    for (int64_t i = 0; i < n; ++i) {
      x[i] = apart[3 * i] = random.uniform(0.5f, 1.5f);
      exact.push_back(x[i]);
    }
    const float got = act.reduce_f32(fn, x.data(), n, 1);
    const double want = reduced(fn, exact);
    CHECK_NEAR(got, want, 1e-5 * (std::isfinite(want) ? std::fabs(want) : 1));
    const float strided = act.reduce_f32(fn, apart.data(), n, 3);
    CHECK_SAME_BITS(&strided, &got, 1);
    if (n > 0 && (fn == Reduce::max || fn == Reduce::min)) {
      x[n / 2] = std::numeric_limits<float>::quiet_NaN();
      CHECK(std::isnan(act.reduce_f32(fn, x.data(), n, 1)));
    }
    const int64_t m = 5, stride = n + 2;
    Guarded<float> matrix(n > 0 ? (m - 1) * stride + n : 0), columns(n);
    for (int64_t i = 0; i < matrix.size(); ++i) matrix[i] = random.uniform(0.5f, 1.5f);
    act.reduce_columns_f32(fn, matrix.data(), m, n, stride, columns.data());
    for (int64_t j = 0; j < n; ++j) {
      std::vector<double> column;
      for (int64_t i = 0; i < m; ++i) column.push_back(matrix[i * stride + j]);
      CHECK_NEAR(columns[j], reduced(fn, column), 1e-5);
    }
  }
}

void check_normalisations(Isa isa, int64_t n) {
  context = std::string(isa_name(isa)) + " normalise n=" + std::to_string(n);
  const ActKernels& act = act_kernels(isa);
  Random random(static_cast<uint64_t>(n) + 1);
  Guarded<float> x(n), gamma(n), beta(n), out(n);
  for (int64_t i = 0; i < n; ++i) x[i] = random.uniform(-20, 20);
  fill(gamma, random);
  fill(beta, random);
  double top = -kInf, total = 0, mean = 0, variance = 0;
  for (int64_t i = 0; i < n; ++i) top = std::fmax(top, x[i]);
  for (int64_t i = 0; i < n; ++i) total += std::exp(x[i] - top);
  for (int64_t i = 0; i < n; ++i) mean += x[i] / static_cast<double>(n);
  for (int64_t i = 0; i < n; ++i) variance += (x[i] - mean) * (x[i] - mean);
  variance /= static_cast<double>(n);
  act.softmax_f32(x.data(), n, 1, out.data());
  for (int64_t i = 0; i < n; ++i) CHECK_NEAR(out[i], std::exp(x[i] - top) / total, 1e-6);
  act.layer_norm_f32(x.data(), n, gamma.data(), beta.data(), 1e-5f, out.data());
  for (int64_t i = 0; i < n; ++i) {
    const double y = (x[i] - mean) / std::sqrt(variance + 1e-5);
    CHECK_NEAR(out[i], y * gamma[i] + beta[i], 1e-5);
  }
  act.layer_norm_f32(x.data(), n, nullptr, nullptr, 1e-5f, out.data());
  CHECK_EQ(act.find_non_finite_f32(x.data(), n), -1);
  for (int64_t bad : {int64_t{0}, n / 2, n - 1}) {
    if (n == 0) break;
    const float kept = x[bad];
    x[bad] = bad % 2 ? kInf : std::numeric_limits<float>::quiet_NaN();
    CHECK_EQ(act.find_non_finite_f32(x.data(), n), bad);
    x[bad] = kept;
  }
}

// Runs side by side give the bits of each alone, in place too.
void check_softmax_runs(Isa isa, int64_t n, int64_t runs) {
  context = std::string(isa_name(isa)) + " softmax n=" + std::to_string(n) +
            " runs=" + std::to_string(runs);
  const ActKernels& act = act_kernels(isa);
  Random random(static_cast<uint64_t>(n + runs));
  Guarded<float> x(n * runs), alone(n * runs), out(n * runs);
  for (int64_t i = 0; i < x.size(); ++i) x[i] = random.uniform(-20, 20);
  if (n > 1 && runs > 1) x[n + 1] = std::numeric_limits<float>::quiet_NaN();
  for (int64_t r = 0; r < runs; ++r) act.softmax_f32(x.data() + r * n, n, 1, alone.data() + r * n);
  act.softmax_f32(x.data(), n, runs, out.data());
  CHECK_SAME_BITS(out.data(), alone.data(), n * runs);
  act.softmax_f32(x.data(), n, runs, x.data());
  CHECK_SAME_BITS(x.data(), alone.data(), n * runs);
}

void run(Isa isa) {
  for (const UnaryCase& c : kUnary) check_unary(isa, c);
  for (int64_t n : kSizes) {
    for (const BinaryCase& c : kBinary) {
      for (int steps = 0; steps < 4; ++steps) check_binary(isa, c, n, steps & 1, steps >> 1);
    }
    check_ternary(isa, n);
    check_reductions(isa, n);
    check_normalisations(isa, n);
    for (int64_t runs : {0, 1, 3, 4, 9}) check_softmax_runs(isa, n, runs);
  }
}

}  // namespace
}  // namespace recstack::test

int main() {
  for (recstack::Isa isa : recstack::supported_isas()) recstack::test::run(isa);
  return recstack::test::finish();
}
