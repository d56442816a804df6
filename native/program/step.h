// One step of a program: what it reads and writes in a tile, and how it runs.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/arena.h"
#include "kernels/act/act.h"
#include "kernels/embag/embag.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm8/gemm8.h"
#include "kernels/interact/interact.h"
#include "kernels/seq/seq.h"
#include "program/layout.h"

namespace recstack {

// Where a value lies. A workspace buffer of width w holds entry e at offset * capacity + e * w. One
// that is a thread's own is an item's, but in the workspace of the thread that runs the step.
struct Operand {
  enum class Kind : int32_t { item, user, dense, user_dense, output, constant, own };
  Kind kind = Kind::item;
  int64_t offset = 0;           // of the buffer, in floats per entry of capacity
  int64_t column = 0;           // of the value inside its buffer or the batch's dense columns
  int64_t stride = 0;           // floats between entries; 0 for constants
  const float* data = nullptr;  // constants
};

// Whether a step of `scope` reads `v` once per row though it has one entry per query.
inline bool spread(const Operand& v, Scope scope) {
  return scope == Scope::item &&
         (v.kind == Operand::Kind::user || v.kind == Operand::Kind::user_dense);
}

// A weight: float32, or the bytes of a table's rows in another format.
struct WeightView {
  const float* data = nullptr;  // null where it is not float32
  const void* bytes = nullptr;
  std::vector<int64_t> shape;
};

// What the planner says of a step; each kind documents its ints and floats at its factory.
struct StepSpec {
  std::string kind;
  Scope scope = Scope::item;
  std::vector<Operand> operands;  // inputs first, the output last
  std::vector<int64_t> ints;
  std::vector<double> floats;
  std::vector<WeightView> weights;
  int64_t turn = kNoTurn;  // Step::turn

  static constexpr int64_t kNoTurn = -1;
};

struct Kernels {
  explicit Kernels(Isa chosen)
      : isa(chosen),
        embag(embag_kernels(chosen)),
        gemm(gemm_kernels(chosen)),
        gemm8(gemm8_kernels(chosen)),
        interact(interact_kernels(chosen)),
        seq(seq_kernels(chosen)),
        act(act_kernels(chosen)) {}
  Isa isa;
  const EmbagKernels& embag;
  const GemmKernels& gemm;
  const Gemm8Kernels& gemm8;
  const InteractKernels& interact;
  const SeqKernels& seq;
  const ActKernels& act;
};

// The tile's part of one sparse feature.
struct FeatureCursor {
  const int32_t* lengths = nullptr;  // of entry 0 of this feature
  int64_t entry = 0;                 // the tile's first entry
  int64_t entries = 0;
  int64_t lookup = 0;   // position in `values` of that entry's first lookup
  int64_t lookups = 0;  // of the tile's entries together
};

// The tile that is being run: rows [row0, row0 + rows) of queries [query0, query0 + queries).
struct Context {
  const BatchView* batch = nullptr;
  const InputLayout* layout = nullptr;
  const Kernels* kernels = nullptr;
  float* item = nullptr;
  float* user = nullptr;
  float* own = nullptr;  // item, but of a crew's member the one that it does not share
  float* out = nullptr;  // (rows, outputs) of this tile
  int64_t capacity = 0;  // entries per workspace buffer
  int64_t row0 = 0;
  int64_t rows = 0;
  int64_t query0 = 0;
  int64_t queries = 0;
  const int32_t* query_of_row = nullptr;  // (rows,) relative to query0
  FeatureCursor* cursors = nullptr;
  int part = 0;  // of a step that divides: which share this call is to do
  int parts = 1;
  // Whether this thread also runs, and whole, the turn before this one and the one after it.
  bool goes_on = true;
  bool leads_on = true;

  // The share of `n` things that is this part's: [share(n, part), share(n, part + 1)).
  int64_t share(int64_t n, int which) const { return n * which / parts; }

  int64_t entries(Scope scope) const { return scope == Scope::item ? rows : queries; }

  // For steps that read values of user scope where they lie: the entry of each row, or null where
  // entry e of `v` belongs to entry e of the step.
  const int32_t* entry_of_row(const Operand& v, Scope scope) const {
    return spread(v, scope) ? query_of_row : nullptr;
  }

  float* at(const Operand& v) const {
    switch (v.kind) {
      case Operand::Kind::item:
        return item + v.offset * capacity + v.column;
      case Operand::Kind::own:
        return own + v.offset * capacity + v.column;
      case Operand::Kind::user:
        return user + v.offset * capacity + v.column;
      case Operand::Kind::dense:
        return const_cast<float*>(batch->dense) + row0 * layout->dense_columns + v.column;
      case Operand::Kind::user_dense:
        return const_cast<float*>(batch->user_dense) + query0 * layout->user_dense_columns +
               v.column;
      case Operand::Kind::output:
        return out + v.column;
      case Operand::Kind::constant:
        break;
    }
    return const_cast<float*>(v.data);
  }

  // What entry `e` of a step of `scope` reads of `v`: a row reads its query's entry of user values.
  const float* entry(const Operand& v, Scope scope, int64_t e) const {
    return at(v) + (spread(v, scope) ? query_of_row[e] : e) * v.stride;
  }
};

class Step {
 public:
  explicit Step(Scope scope) : scope(scope) {}
  virtual ~Step() = default;
  virtual Status run(const Context& context) const = 0;
  // Whether `run` does only its share of the work (Context::part) when there are several parts.
  virtual bool divides() const { return false; }
  virtual int64_t packed_floats() const { return 0; }
  const Scope scope;
  // Steps in a row with turns from 0 on: one thread can run each turn whole, any of them at once.
  int64_t turn = StepSpec::kNoTurn;
};

using StepPtr = std::unique_ptr<Step>;

// What steps are made with.
struct Parts {
  const Kernels& kernels;
  Arena& weights;  // for the large ones: has room for the sum of arena_floats
};

// The floats of `weights` that the step for `spec` will take.
size_t arena_floats(const StepSpec& spec, const Kernels& kernels);
size_t linear8_floats(const StepSpec& spec, const Kernels& kernels);

// The step for `spec`, or null when no factory knows its kind. Packs weights; may throw bad_alloc.
StepPtr make_step(const StepSpec& spec, const Parts& parts);

// The factories by family (steps_*.cc); each returns null for a kind that is not its own.
StepPtr make_embedding_step(const StepSpec& spec, const Parts& parts);
StepPtr make_dense_step(const StepSpec& spec, const Parts& parts);
StepPtr make_linear8_step(const StepSpec& spec, const Parts& parts);
StepPtr make_recurrence8_step(const StepSpec& spec, const Parts& parts);
StepPtr make_sequence_step(const StepSpec& spec, const Parts& parts);
StepPtr make_recurrence_step(const StepSpec& spec, const Parts& parts);
StepPtr make_unit_step(const StepSpec& spec, const Parts& parts);
StepPtr make_elementwise_step(const StepSpec& spec, const Parts& parts);
StepPtr make_move_step(const StepSpec& spec, const Parts& parts);

}  // namespace recstack
