// Reductions and normalisations of act.h. A run is folded into one vector, lane i taking elements
// i, i + kLanes, ...; then the lanes are folded in a tree. The order depends on n alone.
#pragma once

#include "kernels/act/act.h"
#include "kernels/act/math-inl.h"

namespace recstack::RECSTACK_ISA_NS {
namespace {

RECSTACK_INLINE V load_strided(const float* x, int64_t n, int64_t step) {
  float lane[kLanes] = {};
  for (int64_t i = 0; i < n; ++i) lane[i] = x[i * step];
  return load(lane);
}

// Every lane holds the fold of the run.
template <class Map, class Fold>
RECSTACK_INLINE V fold_run(const float* x, int64_t n, int64_t step, float neutral, Map map,
                           Fold fold) {
  V sum = set1(neutral);
  int64_t i = 0;
  if (step == 1) {
    for (; i + kLanes <= n; i += kLanes) sum = fold(sum, map(load(x + i)));
  } else {
    for (; i + kLanes <= n; i += kLanes) {
      sum = fold(sum, map(load_strided(x + i * step, kLanes, step)));
    }
  }
  if (i < n) {
    const V tail = step == 1 ? load_n(x + i, n - i) : load_strided(x + i * step, n - i, step);
    sum = fold(sum, first_of(map(tail), set1(neutral), n - i));
  }
  return fold_all(sum, fold);
}

const auto kSame = [](V x) { return x; };
const auto kAdd = [](V a, V b) { return add(a, b); };
const auto kMul = [](V a, V b) { return mul(a, b); };
const auto kMax = [](V a, V b) { return nan_max(a, b); };
const auto kMin = [](V a, V b) { return nan_min(a, b); };
const auto kSquare = [](V x) { return mul(x, x); };

float reduce_f32(Reduce fn, const float* x, int64_t n, int64_t step) {
  const float inf = __builtin_inff();
  switch (fn) {
    case Reduce::sum:
      return first_lane(fold_run(x, n, step, 0.0f, kSame, kAdd));
    case Reduce::mean:
      return first_lane(fold_run(x, n, step, 0.0f, kSame, kAdd)) / static_cast<float>(n);
    case Reduce::max:
      return first_lane(fold_run(x, n, step, -inf, kSame, kMax));
    case Reduce::min:
      return first_lane(fold_run(x, n, step, inf, kSame, kMin));
    case Reduce::norm2:
      return first_lane(sqrt(fold_run(x, n, step, 0.0f, kSquare, kAdd)));
    case Reduce::prod:
      return first_lane(fold_run(x, n, step, 1.0f, kSame, kMul));
  }
  return 0.0f;
}

template <class Map, class Fold, class Finish>
RECSTACK_INLINE void fold_columns(const float* x, int64_t m, int64_t n, int64_t stride,
                                  float neutral, float* out, Map map, Fold fold, Finish finish) {
  for (int64_t j = 0; j < n; j += kLanes) {
    const int64_t columns = lesser(kLanes, n - j);
    V sum = set1(neutral);
    if (columns == kLanes) {
      for (int64_t i = 0; i < m; ++i) sum = fold(sum, map(load(x + i * stride + j)));
    } else {
      for (int64_t i = 0; i < m; ++i) sum = fold(sum, map(load_n(x + i * stride + j, columns)));
    }
    store_n(out + j, finish(sum), columns);
  }
}

void reduce_columns_f32(Reduce fn, const float* x, int64_t m, int64_t n, int64_t stride,
                        float* out) {
  const float inf = __builtin_inff();
  const V count = set1(static_cast<float>(m));
  const auto fold = [&](float neutral, auto map, auto fold, auto finish) {
    fold_columns(x, m, n, stride, neutral, out, map, fold, finish);
  };
  switch (fn) {
    case Reduce::sum:
      return fold(0.0f, kSame, kAdd, kSame);
    case Reduce::mean:
      return fold(0.0f, kSame, kAdd, [=](V s) { return div(s, count); });
    case Reduce::max:
      return fold(-inf, kSame, kMax, kSame);
    case Reduce::min:
      return fold(inf, kSame, kMin, kSame);
    case Reduce::norm2:
      return fold(0.0f, kSquare, kAdd, [](V s) { return sqrt(s); });
    case Reduce::prod:
      return fold(1.0f, kSame, kMul, kSame);
  }
}

// Vector i of each run of n: its elements into `top`, or its exponentials into `out` and `sum`.
template <int kRuns>
RECSTACK_INLINE void softmax_top(const float* x, int64_t n, int64_t lanes, V (&top)[kRuns]) {
  const V least = set1(-__builtin_inff());
  RECSTACK_UNROLL
  for (int m = 0; m < kRuns; ++m) {
    const V v =
        lanes == kLanes ? load(x + m * n) : first_of(load_n(x + m * n, lanes), least, lanes);
    top[m] = kMax(top[m], v);
  }
}

template <int kRuns>
RECSTACK_INLINE void softmax_exp(const float* x, int64_t n, int64_t lanes, const V (&top)[kRuns],
                                 V (&sum)[kRuns], float* out) {
  RECSTACK_UNROLL
  for (int m = 0; m < kRuns; ++m) {
    const V y = exp(sub(load_n(x + m * n, lanes), top[m]));
    store_n(out + m * n, y, lanes);
    sum[m] = add(sum[m], lanes == kLanes ? y : first_of(y, zero(), lanes));
  }
}

// Runs side by side: one alone waits for its folds and its division.
template <int kRuns>
void softmax_runs(const float* x, int64_t n, float* out) {
  V top[kRuns], sum[kRuns];
  RECSTACK_UNROLL
  for (int m = 0; m < kRuns; ++m) {
    top[m] = set1(-__builtin_inff());
    sum[m] = zero();
  }
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) softmax_top<kRuns>(x + i, n, kLanes, top);
  if (i < n) softmax_top<kRuns>(x + i, n, n - i, top);
  RECSTACK_UNROLL
  for (int m = 0; m < kRuns; ++m) top[m] = fold_all(top[m], kMax);
  for (i = 0; i + kLanes <= n; i += kLanes) {
    softmax_exp<kRuns>(x + i, n, kLanes, top, sum, out + i);
  }
  if (i < n) softmax_exp<kRuns>(x + i, n, n - i, top, sum, out + i);
  V scale[kRuns];
  RECSTACK_UNROLL
  for (int m = 0; m < kRuns; ++m) scale[m] = div(set1(1.0f), fold_all(sum[m], kAdd));
  for (int m = 0; m < kRuns; ++m, out += n) {
    for (i = 0; i + kLanes <= n; i += kLanes) store(out + i, mul(load(out + i), scale[m]));
    if (i < n) store_n(out + i, mul(load_n(out + i, n - i), scale[m]), n - i);
  }
}

void softmax_f32(const float* x, int64_t n, int64_t runs, float* out) {
  constexpr int kAtOnce = 4;
  if (n <= 0) return;
  for (; runs >= kAtOnce; runs -= kAtOnce, x += kAtOnce * n, out += kAtOnce * n) {
    softmax_runs<kAtOnce>(x, n, out);
  }
  for (; runs > 0; --runs, x += n, out += n) softmax_runs<1>(x, n, out);
}

void layer_norm_f32(const float* x, int64_t n, const float* gamma, const float* beta, float eps,
                    float* out) {
  if (n <= 0) return;
  const V count = set1(static_cast<float>(n));
  const V mean = div(fold_run(x, n, 1, 0.0f, kSame, kAdd), count);
  const auto deviation = [=](V v) {
    const V d = sub(v, mean);
    return mul(d, d);
  };
  const V variance = div(fold_run(x, n, 1, 0.0f, deviation, kAdd), count);
  const V scale = div(set1(1.0f), sqrt(add(variance, set1(eps))));
  for (int64_t i = 0; i < n; i += kLanes) {
    const int64_t lanes = lesser(kLanes, n - i);
    V y = mul(sub(load_n(x + i, lanes), mean), scale);
    if (gamma != nullptr) y = mul(y, load_n(gamma + i, lanes));
    if (beta != nullptr) y = add(y, load_n(beta + i, lanes));
    store_n(out + i, y, lanes);
  }
}

int64_t find_non_finite_f32(const float* x, int64_t n) {
  // x - x is 0 for a finite number and NaN for all else.
  const auto bad = [](V v) { return ne(sub(v, v), zero()); };
  for (int64_t i = 0; i < n; i += kLanes) {
    const int64_t lanes = lesser(kLanes, n - i);
    const V v = load_n(x + i, lanes);
    if (!any(bad(v))) continue;
    for (int64_t j = 0; j < lanes; ++j) {
      if (any(bad(set1(x[i + j])))) return i + j;
    }
  }
  return -1;
}

}  // namespace
}  // namespace recstack::RECSTACK_ISA_NS
