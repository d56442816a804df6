// Element-wise bodies of act.h.
#pragma once

#include <math.h>

#include "kernels/act/act.h"
#include "kernels/act/math-inl.h"

namespace recstack::RECSTACK_ISA_NS {
namespace {

// An array, or one value for the whole run.
struct Operand {
  Operand(const float* values, int64_t step, int64_t n)
      : values(values), is_array(step != 0), single(set1(n > 0 && step == 0 ? values[0] : 0.0f)) {}
  V at(int64_t i) const { return is_array ? load(values + i) : single; }
  V at_n(int64_t i, int64_t n) const { return is_array ? load_n(values + i, n) : single; }
  float one(int64_t i) const { return is_array ? values[i] : values[0]; }

  const float* values;
  bool is_array;
  V single;
};

template <class Fn>
RECSTACK_INLINE void map(int64_t n, float* out, Fn fn, const auto&... in) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(out + i, fn(in.at(i)...));
  if (i < n) store_n(out + i, fn(in.at_n(i, n - i)...), n - i);
}

// libm, one element at a time: off the hot paths, exact to a unit, the same on every set.
template <class Fn>
RECSTACK_INLINE void map_scalar(int64_t n, float* out, Fn fn, const auto&... in) {
  for (int64_t i = 0; i < n; ++i) out[i] = fn(in.one(i)...);
}

RECSTACK_INLINE V gelu_tanh(V x) {
  const V cubic = fma(mul(mul(x, x), x), set1(0.044715f), x);
  const V t = tanh(mul(cubic, set1(0.7978845608028654f)));
  return mul(mul(set1(0.5f), x), add(set1(1.0f), t));
}

RECSTACK_INLINE V sign(V x) {
  const V one = set1(1.0f);
  const V positive = select(lt(zero(), x), one, zero());
  return is_nan_select(x, x, select(lt(x, zero()), neg(one), positive));
}

void unary_f32(Unary fn, const float* x, int64_t n, float* out) {
  const Operand in(x, 1, n);
  const auto each = [&](auto f) { map(n, out, f, in); };
  const auto each_scalar = [&](auto f) { map_scalar(n, out, f, in); };
  const V one = set1(1.0f);
  switch (fn) {
    case Unary::relu:
      return each([](V v) { return relu(v); });
    case Unary::sigmoid:
      return each([](V v) { return sigmoid(v); });
    case Unary::tanh:
      return each([](V v) { return tanh(v); });
    case Unary::exp:
      return each([](V v) { return exp(v); });
    case Unary::log:
      return each([](V v) { return log(v); });
    case Unary::sqrt:
      return each([](V v) { return sqrt(v); });
    case Unary::abs:
      return each([](V v) { return abs(v); });
    case Unary::neg:
      return each([](V v) { return neg(v); });
    case Unary::reciprocal:
      return each([=](V v) { return div(one, v); });
    case Unary::square:
      return each([](V v) { return mul(v, v); });
    case Unary::gelu:
      return each_scalar([](float v) { return 0.5f * v * (1.0f + erff(v * 0.70710678f)); });
    case Unary::gelu_tanh:
      return each([](V v) { return gelu_tanh(v); });
    case Unary::silu:
      return each([=](V v) { return div(v, add(one, exp(neg(v)))); });
    case Unary::softplus:
      return each([](V v) { return add(relu(v), log1p(exp(neg(abs(v))))); });
    case Unary::elu:
      return each([](V v) { return select(lt(zero(), v), v, expm1_negative(min(zero(), v))); });
    case Unary::erf:
      return each_scalar([](float v) { return erff(v); });
    case Unary::rsqrt:
      return each([=](V v) { return div(one, sqrt(v)); });
    case Unary::sign:
      return each([](V v) { return sign(v); });
    case Unary::floor:
      return each([](V v) { return floor(v); });
    case Unary::sin:
      return each_scalar([](float v) { return sinf(v); });
    case Unary::cos:
      return each_scalar([](float v) { return cosf(v); });
  }
}

void binary_f32(Binary fn, const float* a, int64_t a_step, const float* b, int64_t b_step,
                int64_t n, float* out) {
  const Operand x(a, a_step, n), y(b, b_step, n);
  const V one = set1(1.0f);
  const auto each = [&](auto f) { map(n, out, f, x, y); };
  const auto test = [&](auto f) {
    map(n, out, [&](V p, V q) { return select(f(p, q), one, zero()); }, x, y);
  };
  switch (fn) {
    case Binary::add:
      return each([](V p, V q) { return add(p, q); });
    case Binary::sub:
      return each([](V p, V q) { return sub(p, q); });
    case Binary::mul:
      return each([](V p, V q) { return mul(p, q); });
    case Binary::div:
      return each([](V p, V q) { return div(p, q); });
    case Binary::pow:
      return map_scalar(n, out, [](float p, float q) { return powf(p, q); }, x, y);
    case Binary::maximum:
      return each([](V p, V q) { return nan_max(p, q); });
    case Binary::minimum:
      return each([](V p, V q) { return nan_min(p, q); });
    case Binary::eq:
      return test([](V p, V q) { return eq(p, q); });
    case Binary::ne:
      return test([](V p, V q) { return ne(p, q); });
    case Binary::lt:
      return test([](V p, V q) { return lt(p, q); });
    case Binary::le:
      return test([](V p, V q) { return le(p, q); });
    case Binary::gt:
      return test([](V p, V q) { return lt(q, p); });
    case Binary::ge:
      return test([](V p, V q) { return le(q, p); });
  }
}

void clamp_f32(const float* x, int64_t n, float low, float high, float* out) {
  const V floor_v = set1(low), ceiling = set1(high);
  map(n, out, [=](V v) { return min(ceiling, max(floor_v, v)); }, Operand(x, 1, n));
}

void where_f32(const float* condition, int64_t condition_step, const float* a, int64_t a_step,
               const float* b, int64_t b_step, int64_t n, float* out) {
  map(
      n, out, [](V c, V p, V q) { return select(ne(c, zero()), p, q); },
      Operand(condition, condition_step, n), Operand(a, a_step, n), Operand(b, b_step, n));
}

void affine_f32(const float* x, const float* scale, const float* shift, int64_t n, float* out) {
  map(
      n, out, [](V v, V s, V t) { return fma(v, s, t); }, Operand(x, 1, n), Operand(scale, 1, n),
      Operand(shift, 1, n));
}

void prelu_f32(const float* x, const float* slope, int64_t slope_step, int64_t n, float* out) {
  map(
      n, out, [](V v, V s) { return select(lt(zero(), v), v, mul(s, v)); }, Operand(x, 1, n),
      Operand(slope, slope_step, n));
}

void dice_f32(const float* x, const float* scale, const float* shift, const float* alpha, int64_t n,
              float* out) {
  const V one = set1(1.0f);
  map(
      n, out,
      [=](V v, V s, V t, V a) {
        const V p = sigmoid(fma(v, s, t));
        return mul(v, fma(a, sub(one, p), p));
      },
      Operand(x, 1, n), Operand(scale, 1, n), Operand(shift, 1, n), Operand(alpha, 1, n));
}

}  // namespace
}  // namespace recstack::RECSTACK_ISA_NS
