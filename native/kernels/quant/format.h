// The formats that rows of a table are stored in. recstack.rows.format has the same list and says
// what each is; the order is shared.
#pragma once

#include <cstdint>

namespace recstack {

enum class RowFormat : int32_t { fp32, fp16, bf16, int8, int4, int2 };

constexpr int64_t row_bits(RowFormat format) {
  constexpr int64_t kBits[] = {32, 16, 16, 8, 4, 2};
  return kBits[static_cast<int32_t>(format)];
}

// Whether rows carry a scale and a bias.
constexpr bool row_scaled(RowFormat format) { return format >= RowFormat::int8; }

// Bytes of the values of a row, without scale and bias.
constexpr int64_t row_values_bytes(RowFormat format, int64_t dim) {
  return (dim * row_bits(format) + 7) / 8;
}

constexpr int64_t row_bytes(RowFormat format, int64_t dim) {
  const int64_t tail = !row_scaled(format) ? 0 : format == RowFormat::int8 ? 8 : 4;
  return row_values_bytes(format, dim) + tail;
}

}  // namespace recstack
