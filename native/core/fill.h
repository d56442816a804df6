// Seeded weights at memory speed: counter-based, so that threads and order cannot change a value.
//
//   key  = chain(seed, stream, i >> 32)              splitmix64's finaliser over each part
//   h    = mix(mix(low32(i) + low32(key)) ^ high32(key))               mix: lowbias32
//   out[i] = low + float(h >> 8) * ((high - low) * 2^-24)              each step rounded to fp32
//
// 24 random bits per value. recstack.model.zoo.fill.fill_uniform_reference is the NumPy twin and
// gives the same bits.
#pragma once

#include <cstdint>

namespace recstack {

// Fills out[0, n) on up to `threads` threads (fewer for small n; below 1 counts as 1). Touches
// each page first on the thread that fills it.
void fill_uniform(float* out, int64_t n, uint64_t seed, uint64_t stream, float low, float high,
                  int threads);

}  // namespace recstack
