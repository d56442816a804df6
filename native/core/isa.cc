#include "core/isa.h"

#include <iterator>

namespace recstack {

namespace {
constexpr Isa kAll[] = {Isa::scalar, Isa::avx2, Isa::avx512, Isa::avx512_bf16};
}

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::scalar:
      return "scalar";
    case Isa::avx2:
      return "avx2";
    case Isa::avx512:
      return "avx512";
    case Isa::avx512_bf16:
      return "avx512_bf16";
  }
  return "unknown";
}

std::optional<Isa> isa_from_name(std::string_view name) {
  for (Isa isa : kAll) {
    if (name == isa_name(isa)) return isa;
  }
  return std::nullopt;
}

bool isa_supported(Isa isa) {
  if (isa == Isa::scalar) return true;
#if defined(__x86_64__)
  // libgcc's cpuid probe also asks xgetbv whether the operating system saves the wide registers.
  __builtin_cpu_init();
  if (isa == Isa::avx2) return __builtin_cpu_supports("x86-64-v3") != 0;
  if (isa >= Isa::avx512 && !__builtin_cpu_supports("x86-64-v4")) return false;
  if (isa == Isa::avx512) return true;
  return __builtin_cpu_supports("avx512vnni") != 0 && __builtin_cpu_supports("avx512bf16") != 0;
#endif
  return false;
}

std::vector<Isa> all_isas() { return {std::begin(kAll), std::end(kAll)}; }

std::vector<Isa> supported_isas() {
  std::vector<Isa> found;
  for (Isa isa : kAll) {
    if (isa_supported(isa)) found.push_back(isa);
  }
  return found;
}

}  // namespace recstack
