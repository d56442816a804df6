#include "kernels/quant/quant.h"

#include <algorithm>
#include <atomic>

#include "core/aligned.h"
#include "core/team.h"

namespace recstack {

namespace scalar {
extern const QuantKernels quant_table;
}
#if defined(__x86_64__)
namespace avx2 {
extern const QuantKernels quant_table;
}
namespace avx512 {
extern const QuantKernels quant_table;
}
#endif

const QuantKernels& quant_kernels(Isa isa) {
#if defined(__x86_64__)
  if (isa >= Isa::avx512) return avx512::quant_table;
  if (isa == Isa::avx2) return avx2::quant_table;
#endif
  (void)isa;
  return scalar::quant_table;
}

namespace {

constexpr int64_t kShareBytes = int64_t{1} << 18;  // of fp32 rows that a thread takes at a time

// Calls work(first row, rows) for shares of all rows, on up to `threads` threads.
template <class Work>
void in_shares(int64_t rows, int64_t dim, int threads, const Work& work) {
  int64_t share = std::max<int64_t>(kShareBytes / std::max<int64_t>(4 * dim, 1), 1);
  share = (share + kMostLanes - 1) / kMostLanes * kMostLanes;
  const int64_t shares = (rows + share - 1) / share;
  std::atomic<int64_t> next{0};
  Team team(static_cast<int>(std::clamp<int64_t>(threads, 1, std::max<int64_t>(shares, 1))));
  team.run([&](int part) {
    for (int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < shares;) {
      work(part, i * share, std::min(share, rows - i * share));
    }
  });
}

}  // namespace

int64_t quantise_table(const QuantiseArgs& args, Isa isa, int threads) {
  const QuantKernels& kernels = quant_kernels(isa);
  const int64_t bytes = row_bytes(args.format, args.dim);
  const int64_t room = (quantise_scratch(args.dim) + 15) / 16 * 16;
  const AlignedFloats scratch(static_cast<size_t>(room * std::max(threads, 1)));
  std::atomic<int64_t> bad{args.rows};
  in_shares(args.rows, args.dim, threads, [&](int part, int64_t first, int64_t rows) {
    QuantiseArgs share = args;
    share.table += first * args.dim;
    share.out += first * bytes;
    share.rows = rows;
    share.scratch = scratch.data() + part * room;
    const int64_t found = kernels.quantise(share);
    if (found < 0) return;
    int64_t least = bad.load(std::memory_order_relaxed);
    while (first + found < least && !bad.compare_exchange_weak(least, first + found)) {
    }
  });
  return bad < args.rows ? bad.load() : -1;
}

void dequantise_table(const DequantiseArgs& args, Isa isa, int threads) {
  const QuantKernels& kernels = quant_kernels(isa);
  const int64_t bytes = row_bytes(args.format, args.dim);
  in_shares(args.rows, args.dim, threads, [&](int, int64_t first, int64_t rows) {
    DequantiseArgs share = args;
    share.stored += first * bytes;
    share.out += first * args.dim;
    share.rows = rows;
    kernels.dequantise(share);
  });
}

}  // namespace recstack
