// NumPy arrays read where they lie, through NumPy's own structure. The exchange by DLPack makes
// four objects per array; the arrays of one row then take as long as a small model.
//
// A file that includes this is NumPy's only user in the module: import_numpy in its bind function.
#pragma once

#include <nanobind/nanobind.h>
#define NPY_NO_DEPRECATED_API NPY_1_7_API_VERSION
#include <numpy/ndarrayobject.h>

#include <cstdint>
#include <optional>
#include <type_traits>

#include "bind_batch.h"

namespace recstack {

namespace nb = nanobind;

inline void import_numpy() {
  if (PyArray_ImportNumPyAPI() < 0) throw nb::python_error();
}

// Whether elements of NumPy's type number `type` are T: it has two numbers for one of C's types.
template <class T>
bool is_numpy_type(int type) {
  const bool is_long = type == NPY_LONG && sizeof(long) == sizeof(T);
  if constexpr (std::is_same_v<T, int32_t>) return type == NPY_INT || is_long;
  if constexpr (std::is_same_v<T, int64_t>) return type == NPY_LONGLONG || is_long;
  if constexpr (std::is_same_v<T, float>) return type == NPY_FLOAT;
  return false;
}

// Perhaps a C-contiguous array, which the caller keeps alive. Its size and data only where it
// holds something.
class NumpyArray {
 public:
  explicit NumpyArray(nb::handle of) : array_(reinterpret_cast<PyArrayObject*>(of.ptr())) {
    constexpr int kFlags = NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ALIGNED;
    good_ = PyArray_Check(of.ptr()) && (PyArray_FLAGS(array_) & kFlags) == kFlags &&
            PyArray_ISNOTSWAPPED(array_);
  }

  template <class T>
  bool holds() const {
    return good_ && is_numpy_type<T>(PyArray_TYPE(array_));
  }
  template <class T>
  bool holds(int dimensions) const {
    return holds<T>() && ndim() == dimensions;
  }
  bool writeable() const { return PyArray_ISWRITEABLE(array_); }

  int ndim() const { return PyArray_NDIM(array_); }
  int64_t shape(int axis) const { return PyArray_DIM(array_, axis); }
  int64_t size() const { return PyArray_MultiplyList(PyArray_DIMS(array_), ndim()); }
  template <class T>
  T* data() const {
    return static_cast<T*>(PyArray_DATA(array_));
  }

 private:
  PyArrayObject* array_;
  bool good_;
};

// A new float32 array of (rows, columns), uninitialised.
inline nb::object new_matrix(int64_t rows, int64_t columns) {
  npy_intp shape[] = {rows, columns};
  PyObject* made = PyArray_SimpleNew(2, shape, NPY_FLOAT);
  if (made == nullptr) throw nb::python_error();
  return nb::steal(made);
}

// view_of for arrays as they lie; nothing also where one of them is no such array.
inline std::optional<BatchView> view_of(nb::handle dense_given, nb::handle user_dense_given,
                                        nb::handle values_given, nb::handle lengths_given,
                                        nb::handle query_offsets_given, nb::handle weights_given,
                                        const InputLayout& layout) {
  const NumpyArray dense(dense_given), user_dense(user_dense_given), values(values_given),
      lengths(lengths_given), query_offsets(query_offsets_given);
  if (!dense.holds<float>(2) || !user_dense.holds<float>(2) || !lengths.holds<int32_t>() ||
      !query_offsets.holds<int32_t>(1)) {
    return std::nullopt;
  }
  BatchView view;
  if (values.holds<int32_t>(1)) {
    view.index_type = IndexType::int32;
  } else if (values.holds<int64_t>(1)) {
    view.index_type = IndexType::int64;
  } else {
    return std::nullopt;
  }
  view.query_offsets = query_offsets.data<int32_t>();
  view.dense = dense.data<float>();
  view.user_dense = user_dense.data<float>();
  view.lengths = lengths.data<int32_t>();
  view.nnz = values.size();
  view.values = values.data<void>();
  ArraySizes sizes{.dense = {dense.shape(0), dense.shape(1)},
                   .user_dense = {user_dense.shape(0), user_dense.shape(1)},
                   .lengths = lengths.size(),
                   .query_offsets = query_offsets.size(),
                   .weights = std::nullopt};
  if (!weights_given.is_none()) {
    const NumpyArray weights(weights_given);
    if (!weights.holds<float>(1)) return std::nullopt;
    view.weights = weights.data<float>();
    sizes.weights = weights.size();
  }
  return counted(view, sizes, layout);
}

}  // namespace recstack
