#include "kernels/quant/quant.h"

#include <cmath>

#include "check.h"
#include "core/aligned.h"
#include "guarded.h"

namespace recstack::test {
namespace {

constexpr RowFormat kFormats[] = {RowFormat::fp32, RowFormat::fp16, RowFormat::bf16,
                                  RowFormat::int8, RowFormat::int4, RowFormat::int2};

struct Given {
  Given(int64_t table_rows, int64_t table_dim, RowFormat stored_as)
      : rows(table_rows),
        dim(table_dim),
        format(stored_as),
        table(rows * dim),
        stored(rows * row_bytes(format, dim)),
        back(rows * dim),
        scratch(static_cast<size_t>(quantise_scratch(dim))) {
    Random random(static_cast<uint64_t>(dim));
    fill(table, random);
  }

  int64_t quantise(Isa isa, bool greedy) {
    return quant_kernels(isa).quantise({.table = table.data(),
                                        .rows = rows,
                                        .dim = dim,
                                        .format = format,
                                        .greedy = greedy,
                                        .out = stored.data(),
                                        .scratch = scratch.data()});
  }

  int64_t rows, dim;
  RowFormat format;
  Guarded<float> table;
  Guarded<uint8_t> stored;
  Guarded<float> back;
  AlignedFloats scratch;
};

// Nothing past the arrays is touched, every set gives the bits of `scalar`, and values come back.
void check(Isa isa, int64_t rows, int64_t dim, RowFormat format) {
  context = std::string(isa_name(isa)) + " rows=" + std::to_string(rows) +
            " dim=" + std::to_string(dim) + " format=" + std::to_string(static_cast<int>(format));
  Given given(rows, dim, format), twin(rows, dim, format);
  for (const bool greedy : {false, true}) {
    CHECK_EQ(given.quantise(isa, greedy), -1);
    CHECK_EQ(twin.quantise(Isa::scalar, greedy), -1);
    CHECK_EQ(std::memcmp(given.stored.data(), twin.stored.data(),
                         static_cast<size_t>(given.stored.size())),
             0);
  }
  quant_kernels(isa).dequantise({.stored = given.stored.data(),
                                 .rows = rows,
                                 .dim = dim,
                                 .format = format,
                                 .out = given.back.data()});
  // Values span 2 at most; int4 and int2 ranges are clipped by 16% at most.
  const double step = 2.0 / static_cast<double>((int64_t{1} << row_bits(format)) - 1);
  const double clipped = format == RowFormat::int4 || format == RowFormat::int2 ? 0.34 : 0.0;
  const double bound = format == RowFormat::bf16 ? 0x1p-8 : step / 2 + clipped + 1e-3;
  for (int64_t i = 0; i < rows * dim; ++i) CHECK_NEAR(given.back[i], given.table[i], bound);
  if (format == RowFormat::fp32) return;
  for (const int64_t bad : {rows - 1, rows / 2}) {
    given.table[bad * dim + dim - 1] = NAN;
    CHECK_EQ(given.quantise(isa, true), bad);
  }
}

}  // namespace
}  // namespace recstack::test

int main() {
  using recstack::quant_kernels, recstack::Isa;
  for (const Isa isa : recstack::all_isas()) {
    recstack::test::context = isa_name(isa);
    CHECK_EQ(&quant_kernels(isa) == &quant_kernels(Isa::scalar), isa == Isa::scalar);
  }
  for (recstack::Isa isa : recstack::supported_isas()) {
    for (const recstack::RowFormat format : recstack::test::kFormats) {
      for (const int64_t rows : {1, 4, 15, 16, 33}) {
        for (const int64_t dim : {1, 2, 3, 5, 8, 15, 16, 17, 31, 33, 64, 100}) {
          recstack::test::check(isa, rows, dim, format);
        }
      }
    }
  }
  return recstack::test::finish();
}
