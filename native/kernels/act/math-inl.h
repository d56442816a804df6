// exp, log and their family on vectors: Cephes' single-precision approximations (Moshier, netlib
// cephes/single), range reduction in two steps so that subnormals and overflow come out right.
#pragma once

#include "core/vec.h"

namespace recstack::RECSTACK_ISA_NS {
namespace {

RECSTACK_INLINE V polynomial(V, V sum) { return sum; }
// Horner, highest power first: sum * x + c0, ...
template <class... Rest>
RECSTACK_INLINE V polynomial(V x, V sum, float c0, Rest... rest) {
  return polynomial(x, fma(sum, x, set1(c0)), rest...);
}

// y * 2^n for whole n from -150 to 128; NaN when either is.
RECSTACK_INLINE V scale_by_power(V y, V n) {
#if RECSTACK_ISA >= 2
  return scalef(y, n);
#else
  // In two factors: one exponent field does not reach that far.
  const I whole = to_int(is_nan_select(n, zero(), n));
  const I half = shift_right<1>(whole);
  const I bias = set1_int(127);
  const V scale = bits(shift_left<23>(add(half, bias)));
  const V rest = bits(shift_left<23>(add(sub(whole, half), bias)));
  return mul(mul(y, scale), rest);
#endif
}

RECSTACK_INLINE V exp(V x) {
  // Past these the result is inf or 0 anyway; x stands second so that NaN stays.
  x = min(set1(89.0f), max(set1(-104.0f), x));
  // Adding and taking away 1.5 * 2^23 rounds to the nearest integer.
  const V magic = set1(12582912.0f);
  const V n = sub(fma(x, set1(1.44269504088896341f), magic), magic);
  V r = fma(n, set1(-0.693359375f), x);
  r = fma(n, set1(2.12194440e-4f), r);
  const V p = polynomial(r, set1(1.9875691500e-4f), 1.3981999507e-3f, 8.3334519073e-3f,
                         4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f);
  const V y = add(fma(p, mul(r, r), r), set1(1.0f));
  return scale_by_power(y, n);
}

RECSTACK_INLINE V log(V x) {
  const M subnormal = lt(x, set1(1.17549435e-38f));
  const V scaled = select(subnormal, mul(x, set1(8388608.0f)), x);
  // m in [sqrt(1/2), sqrt(2)), scaled == m * 2^e
  const I e_bits = shift_right<23>(sub(bits(scaled), set1_int(0x3f3504f3)));
  const V m = bits(sub(bits(scaled), shift_left<23>(e_bits)));
  const V e = add(to_float(e_bits), select(subnormal, set1(-23.0f), zero()));
  const V f = sub(m, set1(1.0f));
  const V z = mul(f, f);
  const V p = polynomial(f, set1(7.0376836292e-2f), -1.1514610310e-1f, 1.1676998740e-1f,
                         -1.2420140846e-1f, 1.4249322787e-1f, -1.6668057665e-1f, 2.0000714765e-1f,
                         -2.4999993993e-1f, 3.3333331174e-1f);
  V y = mul(mul(f, z), p);
  y = fma(e, set1(-2.12194440e-4f), y);
  y = fma(z, set1(-0.5f), y);
  y = fma(e, set1(0.693359375f), add(f, y));
  const V inf = set1(__builtin_inff());
  y = select(lt(x, inf), y, x);  // inf and NaN are their own logarithm
  y = select(lt(x, zero()), set1(__builtin_nanf("")), y);
  return select(eq(x, zero()), neg(inf), y);
}

// x stands second: x86's max returns it when it is NaN.
RECSTACK_INLINE V relu(V x) { return max(zero(), x); }

RECSTACK_INLINE V sigmoid(V x) {
  const V one = set1(1.0f);
  return div(one, add(one, exp(neg(x))));
}

// Where the rational function below is 1 to the last bit; that depends on whether fma rounds once.
constexpr float kTanhEnd = RECSTACK_ISA == 0 ? 7.90531110763549805f : 7.99881172180175781f;

// A rational function of degrees 13 and 6, as in Eigen (MathFunctionsImpl.h, ptanh_float): one
// division and no exponential. x stands second in min and max so that NaN stays; dividing before
// multiplying keeps subnormals.
RECSTACK_INLINE V tanh(V x) {
  const V limit = set1(kTanhEnd);
  const V y = min(limit, max(neg(limit), x));
  const V z = mul(y, y);
  const V p = polynomial(z, set1(-2.76076847742355e-16f), 2.00018790482477e-13f,
                         -8.60467152213735e-11f, 5.12229709037114e-08f, 1.48572235717979e-05f,
                         6.37261928875436e-04f, 4.89352455891786e-03f);
  const V q = polynomial(z, set1(1.19825839466702e-06f), 1.18534705686654e-04f,
                         2.26843463243900e-03f, 4.89352518554385e-03f);
  return mul(y, div(p, q));
}

// log(1 + x) for x >= 0: the second factor takes back what rounding 1 + x lost.
RECSTACK_INLINE V log1p(V x) {
  const V one = set1(1.0f);
  const V u = add(one, x);
  return select(eq(u, one), x, mul(log(u), div(x, sub(u, one))));
}

// e^x - 1 for x <= 0, through tanh, whose relative accuracy holds near 0.
RECSTACK_INLINE V expm1_negative(V x) {
  const V t = tanh(mul(x, set1(0.5f)));
  return div(add(t, t), sub(set1(1.0f), t));
}

}  // namespace
}  // namespace recstack::RECSTACK_ISA_NS
