#include "core/fill.h"

#include <algorithm>
#include <system_error>
#include <thread>
#include <vector>

namespace recstack {
namespace {

constexpr int64_t kBlock = int64_t{1} << 32;  // elements under one key
constexpr int64_t kGrain = int64_t{1} << 19;  // 2 MiB: a huge page has one owner
constexpr int64_t kLeastPerThread = int64_t{1}
                                    << 20;  // below this a thread costs more than it saves

uint64_t absorb(uint64_t key, uint64_t part) {
  key = (key ^ part) + 0x9E3779B97F4A7C15u;
  key = (key ^ (key >> 30)) * 0xBF58476D1CE4E5B9u;
  key = (key ^ (key >> 27)) * 0x94D049BB133111EBu;
  return key ^ (key >> 31);
}

// lowbias32, C. Wellons, hash-prospector.
inline uint32_t mix(uint32_t x) {
  x = (x ^ (x >> 16)) * 0x7FEB352Du;
  x = (x ^ (x >> 15)) * 0x846CA68Bu;
  return x ^ (x >> 16);
}

// Elements [begin, end), all under one key; indices count modulo 2^32, as the loop's integer does.
void fill_keyed(float* out, int64_t begin, int64_t end, uint64_t key, float low, float scale) {
  const auto low_key = static_cast<uint32_t>(key);
  const auto high_key = static_cast<uint32_t>(key >> 32);
  const uint32_t first = static_cast<uint32_t>(begin) + low_key;
  const int64_t count = end - begin;
  float* at = out + begin;
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t h = mix(mix(first + static_cast<uint32_t>(i)) ^ high_key);
    at[i] = low + static_cast<float>(static_cast<int32_t>(h >> 8)) * scale;
  }
}

void fill_range(float* out, int64_t begin, int64_t end, uint64_t seed, uint64_t stream, float low,
                float scale) {
  while (begin < end) {
    const int64_t block = begin / kBlock;
    const int64_t stop = std::min(end, (block + 1) * kBlock);
    const uint64_t key = absorb(absorb(absorb(0, seed), stream), static_cast<uint64_t>(block));
    fill_keyed(out, begin, stop, key, low, scale);
    begin = stop;
  }
}

}  // namespace

void fill_uniform(float* out, int64_t n, uint64_t seed, uint64_t stream, float low, float high,
                  int threads) {
  const float scale = (high - low) * 0x1p-24f;
  const int64_t most = std::max<int64_t>(n / kLeastPerThread, 1);
  const int64_t shares = std::clamp<int64_t>(threads, 1, most);
  const int64_t share = ((n + shares - 1) / shares + kGrain - 1) / kGrain * kGrain;
  std::vector<std::thread> helpers;
  for (int64_t i = 1; i < shares; ++i) {
    const int64_t begin = std::min(i * share, n);
    const int64_t end = std::min(begin + share, n);
    try {
      helpers.emplace_back([=] { fill_range(out, begin, end, seed, stream, low, scale); });
    } catch (const std::system_error&) {  // no thread to be had: this one does the share
      fill_range(out, begin, end, seed, stream, low, scale);
    }
  }
  fill_range(out, 0, std::min(share, n), seed, stream, low, scale);
  for (std::thread& helper : helpers) helper.join();
}

}  // namespace recstack
