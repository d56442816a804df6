// Reductions and normalisations of act.h. A run is folded into one vector, lane i taking elements
// i, i + kLanes, ...; then the lanes are folded in a tree. The order depends on n alone.
#pragma once

#include "kernels/act/act.h"
#include "kernels/act/math-inl.h"

namespace recstack::RECSTACK_ISA_NS {
namespace {

// Lanes past the n-th take `fill`, the fold's neutral element.
RECSTACK_INLINE V filled(V x, int64_t n, float fill) {
  float lane[kLanes];
  store(lane, x);
  for (int64_t i = n; i < kLanes; ++i) lane[i] = fill;
  return load(lane);
}

RECSTACK_INLINE V load_strided(const float* x, int64_t n, int64_t step) {
  float lane[kLanes] = {};
  for (int64_t i = 0; i < n; ++i) lane[i] = x[i * step];
  return load(lane);
}

template <class Map, class Fold>
RECSTACK_INLINE float fold_run(const float* x, int64_t n, int64_t step, float neutral, Map map,
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
    const V tail = map(load_strided(x + i * step, n - i, step));
    sum = fold(sum, filled(tail, n - i, neutral));
  }
  float lane[kLanes];
  store(lane, sum);
  for (int width = kLanes / 2; width > 0; width /= 2) {
    for (int j = 0; j < width; ++j) {
      store_n(lane + j, fold(set1(lane[j]), set1(lane[j + width])), 1);
    }
  }
  return lane[0];
}

const auto kSame = [](V x) { return x; };
const auto kAdd = [](V a, V b) { return add(a, b); };
const auto kMul = [](V a, V b) { return mul(a, b); };
const auto kMax = [](V a, V b) { return nan_max(a, b); };
const auto kMin = [](V a, V b) { return nan_min(a, b); };
const auto kSquare = [](V x) { return mul(x, x); };

RECSTACK_INLINE float sqrt1(float x) {
  float out;
  store_n(&out, sqrt(set1(x)), 1);
  return out;
}

float reduce_f32(Reduce fn, const float* x, int64_t n, int64_t step) {
  const float inf = __builtin_inff();
  switch (fn) {
    case Reduce::sum:
      return fold_run(x, n, step, 0.0f, kSame, kAdd);
    case Reduce::mean:
      return fold_run(x, n, step, 0.0f, kSame, kAdd) / static_cast<float>(n);
    case Reduce::max:
      return fold_run(x, n, step, -inf, kSame, kMax);
    case Reduce::min:
      return fold_run(x, n, step, inf, kSame, kMin);
    case Reduce::norm2:
      return sqrt1(fold_run(x, n, step, 0.0f, kSquare, kAdd));
    case Reduce::prod:
      return fold_run(x, n, step, 1.0f, kSame, kMul);
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

void softmax_f32(const float* x, int64_t n, float* out) {
  if (n <= 0) return;
  const V top = set1(fold_run(x, n, 1, -__builtin_inff(), kSame, kMax));
  for (int64_t i = 0; i < n; i += kLanes) {
    const int64_t lanes = lesser(kLanes, n - i);
    store_n(out + i, exp(sub(load_n(x + i, lanes), top)), lanes);
  }
  const V total = set1(fold_run(out, n, 1, 0.0f, kSame, kAdd));
  for (int64_t i = 0; i < n; i += kLanes) {
    const int64_t lanes = lesser(kLanes, n - i);
    store_n(out + i, div(load_n(out + i, lanes), total), lanes);
  }
}

void layer_norm_f32(const float* x, int64_t n, const float* gamma, const float* beta, float eps,
                    float* out) {
  if (n <= 0) return;
  const float count = static_cast<float>(n);
  const V mean = set1(fold_run(x, n, 1, 0.0f, kSame, kAdd) / count);
  const auto deviation = [=](V v) {
    const V d = sub(v, mean);
    return mul(d, d);
  };
  const float variance = fold_run(x, n, 1, 0.0f, deviation, kAdd) / count;
  const V scale = set1(1.0f / sqrt1(variance + eps));
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
