#include "kernels/seq/seq.h"

#include "kernels/seq/tables.h"

namespace recstack {
namespace {

SeqKernels joined(SeqKernels fp32, const SeqLayers& bf16, const SeqLayers& fp16,
                  const UnitKernels& bf16_unit, const UnitKernels& int8_unit) {
  const SeqLayers* const layers[] = {&bf16, &fp16};
  for (int i = 0; i < 2; ++i) {
    fp32.recurrence[1 + i] = layers[i]->recurrence;
    fp32.rnn[1 + i] = layers[i]->rnn;
  }
  fp32.unit[1] = bf16_unit;
  fp32.unit[2] = int8_unit;
  return fp32;
}

}  // namespace

const SeqKernels& seq_kernels(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::avx512_bf16) {
    static const SeqKernels kernels =
        joined(avx512::seq_table, avx512_bf16::bf16_seq, avx512::fp16_seq, avx512_bf16::bf16_unit,
               avx512_bf16::int8_unit);
    return kernels;
  }
  if (isa == Isa::avx512) {
    static const SeqKernels kernels = joined(avx512::seq_table, avx512::bf16_seq, avx512::fp16_seq,
                                             avx512::bf16_unit, avx512::int8_unit);
    return kernels;
  }
  if (isa == Isa::avx2) {
    static const SeqKernels kernels =
        joined(avx2::seq_table, avx2::bf16_seq, avx2::fp16_seq, avx2::bf16_unit, avx2::int8_unit);
    return kernels;
  }
#endif
  (void)isa;
  static const SeqKernels kernels = joined(scalar::seq_table, scalar::bf16_seq, scalar::fp16_seq,
                                           scalar::bf16_unit, scalar::int8_unit);
  return kernels;
}

}  // namespace recstack
