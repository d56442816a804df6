// What a spinning thread does between two looks.
#pragma once

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace recstack {

inline void pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace recstack
