// The dot-product instructions of AVX-512, which core/vec.h has no names for. Included by one file
// per instruction, compiled for that instruction.
#pragma once

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

#include <cstdint>

namespace recstack {
namespace {

constexpr int kDotChains = 12;

// acc = dot(acc) in kDotChains independent chains, `steps` times. `first` starts each chain
// elsewhere: the compiler would make one of equal ones.
template <class Acc, class First, class Dot, class Keep>
inline __attribute__((always_inline)) void dot_chains(int64_t steps, First first, Dot dot,
                                                      Keep keep) {
  Acc acc[kDotChains];
#pragma GCC unroll 32
  for (int i = 0; i < kDotChains; ++i) acc[i] = first(i);
  for (int64_t s = 0; s < steps; ++s) {
#pragma GCC unroll 32
    for (int i = 0; i < kDotChains; ++i) acc[i] = dot(acc[i]);
  }
#pragma GCC unroll 32
  for (int i = 0; i < kDotChains; ++i) keep(acc[i]);
}

}  // namespace
}  // namespace recstack
