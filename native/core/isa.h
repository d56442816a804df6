// Instruction sets: which this build has, which this processor can run, and their names.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

namespace recstack {

enum class Isa { scalar = 0, avx2 = 1, avx512 = 2, avx512_bf16 = 3 };

// "scalar", "avx2", "avx512" or "avx512_bf16".
const char* isa_name(Isa isa);

// The set of that name, or nothing when no set has it.
std::optional<Isa> isa_from_name(std::string_view name);

// Whether this processor and operating system can run code of `isa` (avx2 = x86-64-v3, avx512 =
// x86-64-v4, avx512_bf16 = that with VNNI and BF16: Cooper Lake, Sapphire Rapids, Zen 4) and this
// build has it.
bool isa_supported(Isa isa);

// The sets of this build, slowest first.
std::vector<Isa> all_isas();

// The supported sets, slowest first; scalar is always the first.
std::vector<Isa> supported_isas();

}  // namespace recstack
