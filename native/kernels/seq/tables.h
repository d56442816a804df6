// The tables of every instruction set, which seq.cc puts together.
#pragma once

#include "kernels/seq/seq.h"

namespace recstack {

// One format's recurrences.
struct SeqLayers {
  RecurrenceKernels recurrence;
  RnnKernels rnn;
};

#define RECSTACK_SEQ_TABLES(set)      \
  namespace set {                     \
  extern const SeqKernels seq_table;  \
  extern const SeqLayers bf16_seq;    \
  extern const SeqLayers fp16_seq;    \
  extern const UnitKernels bf16_unit; \
  extern const UnitKernels int8_unit; \
  }
RECSTACK_SEQ_TABLES(scalar)
RECSTACK_SEQ_TABLES(avx2)
RECSTACK_SEQ_TABLES(avx512)
namespace avx512_bf16 {  // the others are avx512's
extern const SeqLayers bf16_seq;
extern const UnitKernels bf16_unit;
extern const UnitKernels int8_unit;
}  // namespace avx512_bf16
#undef RECSTACK_SEQ_TABLES

}  // namespace recstack
