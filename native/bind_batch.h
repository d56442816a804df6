// A batch's arrays as Python passes them, and the view of them that native code runs on.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdint>
#include <optional>

#include "program/layout.h"

namespace recstack {

namespace nb = nanobind;

using FloatMatrix = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using FloatVector = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using IntVector = nb::ndarray<const int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using IntArray = nb::ndarray<const int32_t, nb::c_contig, nb::device::cpu>;
using Indices = nb::ndarray<nb::ro, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

struct BatchArrays {
  FloatMatrix dense;
  FloatMatrix user_dense;
  Indices values;
  IntArray lengths;
  IntVector query_offsets;
  std::optional<FloatVector> weights;
};

// Whether every element lies at a multiple of its size, as all that reads it takes for granted.
template <class Array>
bool aligned(const Array& array) {
  return array.size() == 0 || reinterpret_cast<uintptr_t>(array.data()) % array.itemsize() == 0;
}

// The sizes of the arrays that a BatchView points to, which it does not tell by itself.
struct ArraySizes {
  int64_t dense[2];
  int64_t user_dense[2];
  int64_t lengths;
  int64_t query_offsets;
  std::optional<int64_t> weights;
};

// `view`, of which all but the counts of queries and rows are set, or nothing unless every size
// agrees with `layout`.
inline std::optional<BatchView> counted(BatchView view, const ArraySizes& sizes,
                                        const InputLayout& layout) {
  if (sizes.query_offsets < 1) return std::nullopt;
  view.queries = sizes.query_offsets - 1;
  view.rows = view.query_offsets[view.queries];
  if (view.rows < 0) return std::nullopt;
  const auto matrix_fits = [](const int64_t (&shape)[2], int64_t entries, int64_t columns) {
    return columns == 0 || (shape[0] == entries && shape[1] == columns);
  };
  if (!matrix_fits(sizes.dense, view.rows, layout.dense_columns) ||
      !matrix_fits(sizes.user_dense, view.queries, layout.user_dense_columns)) {
    return std::nullopt;
  }
  int64_t bags = 0;
  for (Scope scope : layout.features) bags += scope == Scope::item ? view.rows : view.queries;
  if (sizes.lengths != bags) return std::nullopt;
  if (!layout.weighted) {
    view.weights = nullptr;
  } else if (sizes.weights != view.nnz) {
    return std::nullopt;
  }
  if (!consistent(layout, view)) return std::nullopt;
  return view;
}

// The view of `arrays`, or nothing unless all are aligned and every size and dtype agrees with
// `layout`.
inline std::optional<BatchView> view_of(const BatchArrays& arrays, const InputLayout& layout) {
  if (!aligned(arrays.dense) || !aligned(arrays.user_dense) || !aligned(arrays.values) ||
      !aligned(arrays.lengths) || !aligned(arrays.query_offsets) ||
      (arrays.weights && !aligned(*arrays.weights))) {
    return std::nullopt;
  }
  const auto size = [](const auto& array) { return static_cast<int64_t>(array.size()); };
  const auto shape = [](const FloatMatrix& m, size_t axis) {
    return static_cast<int64_t>(m.shape(axis));
  };
  BatchView view;
  view.query_offsets = arrays.query_offsets.data();
  view.dense = arrays.dense.data();
  view.user_dense = arrays.user_dense.data();
  view.lengths = arrays.lengths.data();
  view.nnz = size(arrays.values);
  view.values = arrays.values.data();
  if (arrays.values.dtype() == nb::dtype<int32_t>()) {
    view.index_type = IndexType::int32;
  } else if (arrays.values.dtype() == nb::dtype<int64_t>()) {
    view.index_type = IndexType::int64;
  } else {
    return std::nullopt;
  }
  ArraySizes sizes{.dense = {shape(arrays.dense, 0), shape(arrays.dense, 1)},
                   .user_dense = {shape(arrays.user_dense, 0), shape(arrays.user_dense, 1)},
                   .lengths = size(arrays.lengths),
                   .query_offsets = size(arrays.query_offsets),
                   .weights = std::nullopt};
  if (arrays.weights) {
    view.weights = arrays.weights->data();
    sizes.weights = size(*arrays.weights);
  }
  return counted(view, sizes, layout);
}

}  // namespace recstack
