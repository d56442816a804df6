// Memory: seeded fills and huge pages.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <memory>

#include "core/fill.h"
#include "core/pages.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace recstack {

void bind_memory(nb::module_& m) {
  m.def(
      "fill_uniform",
      [](nb::ndarray<float, nb::ndim<1>, nb::c_contig, nb::device::cpu> out, uint64_t seed,
         uint64_t stream, float low, float high, int threads) {
        nb::gil_scoped_release release;
        fill_uniform(out.data(), static_cast<int64_t>(out.shape(0)), seed, stream, low, high,
                     threads);
      },
      "out"_a, "seed"_a, "stream"_a, "low"_a, "high"_a, "threads"_a);

  m.def(
      "empty_pages",
      [](size_t nbytes) {
        auto pages = std::make_unique<Pages>(Pages::allocate(nbytes));
        if (nbytes != 0 && !pages->data()) throw std::bad_alloc();
        const bool huge = pages->huge();
        uint8_t* data = pages->data();
        nb::capsule owner(pages.release(),
                          [](void* held) noexcept { delete static_cast<Pages*>(held); });
        nb::ndarray<nb::numpy, uint8_t, nb::ndim<1>> array(data, {nbytes}, owner);
        return nb::make_tuple(array, huge);
      },
      "nbytes"_a);

  m.def("huge_pages_available", &huge_pages_available);
}

}  // namespace recstack
