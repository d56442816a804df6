// Memory: seeded fills, huge pages, rows to stored rows and back.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>

#include <memory>
#include <optional>
#include <string>

#include "core/fill.h"
#include "core/pages.h"
#include "kernels/quant/quant.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace recstack {

namespace {

using Table = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Stored = nb::ndarray<const uint8_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

Isa isa_of(const std::string& name) {
  const std::optional<Isa> isa = isa_from_name(name);
  if (!isa || !isa_supported(*isa)) throw nb::value_error(("no " + name).c_str());
  return *isa;
}

// Throws unless (rows, bytes) are rows of `dim` values in `format`.
RowFormat format_of(int format, size_t dim, size_t bytes) {
  const auto found = static_cast<RowFormat>(format);
  if (format < 0 || format > static_cast<int>(RowFormat::int2) ||
      row_bytes(found, static_cast<int64_t>(dim)) != static_cast<int64_t>(bytes)) {
    throw nb::value_error("no such rows");
  }
  return found;
}

}  // namespace

void bind_memory(nb::module_& m) {
  // The first row that does not fit, or -1.
  m.def(
      "quantise_rows",
      [](Table table, int format, bool greedy,
         nb::ndarray<uint8_t, nb::ndim<2>, nb::c_contig, nb::device::cpu> out,
         const std::string& isa, int threads) {
        const RowFormat rows = format_of(format, table.shape(1), out.shape(1));
        if (table.shape(0) != out.shape(0)) throw nb::value_error("no such rows");
        const QuantiseArgs args{.table = table.data(),
                                .rows = static_cast<int64_t>(table.shape(0)),
                                .dim = static_cast<int64_t>(table.shape(1)),
                                .format = rows,
                                .greedy = greedy,
                                .out = out.data(),
                                .scratch = nullptr};
        const Isa chosen = isa_of(isa);
        nb::gil_scoped_release release;
        return quantise_table(args, chosen, threads);
      },
      "table"_a.noconvert(), "format"_a, "greedy"_a, "out"_a.noconvert(), "isa"_a, "threads"_a);

  m.def(
      "dequantise_rows",
      [](Stored stored, int format,
         nb::ndarray<float, nb::ndim<2>, nb::c_contig, nb::device::cpu> out, const std::string& isa,
         int threads) {
        const RowFormat rows = format_of(format, out.shape(1), stored.shape(1));
        if (stored.shape(0) != out.shape(0)) throw nb::value_error("no such rows");
        const DequantiseArgs args{.stored = stored.data(),
                                  .rows = static_cast<int64_t>(stored.shape(0)),
                                  .dim = static_cast<int64_t>(out.shape(1)),
                                  .format = rows,
                                  .out = out.data()};
        const Isa chosen = isa_of(isa);
        nb::gil_scoped_release release;
        dequantise_table(args, chosen, threads);
      },
      "stored"_a.noconvert(), "format"_a, "out"_a.noconvert(), "isa"_a, "threads"_a);

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
