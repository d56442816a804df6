#include "program/program.h"

#include "core/aligned.h"
#include "program/step_times.h"

#include <algorithm>
#include <stdexcept>

namespace recstack {
namespace {

// Runs a program's steps tile by tile.
class ProgramExecutor final : public Executor {
 public:
  // `times`, unless null, takes what each step spends.
  ProgramExecutor(std::shared_ptr<const Program> program, std::shared_ptr<StepNanoseconds> times)
      : program_(std::move(program)),
        times_(std::move(times)),
        item_(static_cast<size_t>(program_->spec().item_floats * program_->spec().tile_rows)),
        user_(static_cast<size_t>(program_->spec().user_floats * program_->spec().tile_rows)),
        query_of_row_(static_cast<size_t>(program_->spec().tile_rows)),
        cursors_(program_->layout().features.size()) {
    context_.layout = &program_->layout();
    context_.kernels = &program_->kernels();
    context_.item = item_.data();
    context_.user = user_.data();
    context_.capacity = program_->spec().tile_rows;
    context_.query_of_row = query_of_row_.data();
    context_.cursors = cursors_.data();
  }

  Status run(const BatchView& batch, int64_t row_begin, int64_t row_end, float* out) override {
    if (row_begin >= row_end) return {};
    context_.batch = &batch;
    place_cursors(batch);
    const int64_t tile = program_->spec().tile_rows;
    const int32_t* offsets = batch.query_offsets;
    int64_t query = std::upper_bound(offsets, offsets + batch.queries + 1, row_begin) - offsets - 1;
    for (int64_t row = row_begin; row < row_end;) {
      const int64_t group = std::min(tile, batch.queries - query);
      const int64_t group_end = std::min<int64_t>(offsets[query + group], row_end);
      if (group_end > row) {
        if (Status s = run_queries(query, group); !s.ok()) return s;
      }
      for (; row < group_end; row += context_.rows) {
        context_.row0 = row;
        context_.rows = std::min(tile, group_end - row);
        context_.out = out + (row - row_begin) * program_->layout().outputs;
        if (Status s = run_rows(); !s.ok()) return s;
      }
      query += group;
    }
    return {};
  }

 private:
  void place_cursors(const BatchView& batch) {
    const int32_t* lengths = batch.lengths;
    int64_t lookup = 0;
    for (size_t f = 0; f < cursors_.size(); ++f) {
      const Scope scope = program_->layout().features[f];
      const int64_t entries = scope == Scope::item ? batch.rows : batch.queries;
      FeatureCursor& at = cursors_[f];
      at = {.scope = scope, .lengths = lengths, .entry = 0, .lookup = lookup};
      for (int64_t e = 0; e < entries; ++e) lookup += lengths[e];
      at.end = lookup;
      lengths += entries;
    }
  }

  void advance_cursors(Scope scope, int64_t entry) {
    for (FeatureCursor& at : cursors_) {
      if (at.scope != scope) continue;
      for (; at.entry < entry; ++at.entry) at.lookup += at.lengths[at.entry];
    }
  }

  Status run_queries(int64_t query, int64_t queries) {
    context_.query0 = query;
    context_.queries = queries;
    advance_cursors(Scope::user, query);
    const int64_t columns = program_->layout().user_dense_columns;
    if (Status s = check_finite(context_.batch->user_dense, columns, query, queries, true);
        !s.ok()) {
      return s;
    }
    if (times_) return times_->user.run(program_->user_steps(), context_);
    return run_steps(program_->user_steps());
  }

  Status run_rows() {
    advance_cursors(Scope::item, context_.row0);
    const int64_t columns = program_->layout().dense_columns;
    if (Status s =
            check_finite(context_.batch->dense, columns, context_.row0, context_.rows, false);
        !s.ok()) {
      return s;
    }
    const int32_t* offsets = context_.batch->query_offsets + context_.query0;
    for (int64_t r = 0, q = 0; r < context_.rows; ++r) {
      while (offsets[q + 1] <= context_.row0 + r) ++q;
      query_of_row_[r] = static_cast<int32_t>(q);
    }
    if (times_) return times_->item.run(program_->item_steps(), context_);
    return run_steps(program_->item_steps());
  }

  Status run_steps(const std::vector<StepPtr>& steps) {
    for (const StepPtr& step : steps) step->prefetch(context_);
    for (const StepPtr& step : steps) {
      if (Status s = step->run(context_); !s.ok()) return s;
    }
    return {};
  }

  // `feature` of the status is 1 for user_dense, 0 for dense; `column` counts all their columns.
  Status check_finite(const float* x, int64_t columns, int64_t entry, int64_t entries, bool user) {
    if (columns == 0) return {};
    const int64_t bad =
        program_->kernels().act.find_non_finite_f32(x + entry * columns, entries * columns);
    if (bad < 0) return {};
    return {.code = Status::Code::non_finite,
            .feature = user ? 1 : 0,
            .entry = entry + bad / columns,
            .column = bad % columns};
  }

  std::shared_ptr<const Program> program_;
  std::shared_ptr<StepNanoseconds> times_;
  AlignedFloats item_;
  AlignedFloats user_;
  std::vector<int32_t> query_of_row_;
  std::vector<FeatureCursor> cursors_;
  Context context_;
};

}  // namespace

Program::Program(ProgramSpec spec, const std::vector<StepSpec>& steps,
                 std::vector<std::shared_ptr<void>> owners)
    : spec_(std::move(spec)), kernels_(spec_.isa), owners_(std::move(owners)) {
  for (const StepSpec& step : steps) {
    StepPtr made = make_step(step, kernels_);
    if (!made) throw std::invalid_argument("unknown step kind '" + step.kind + "'");
    (step.scope == Scope::user ? user_steps_ : item_steps_).push_back(std::move(made));
  }
}

std::unique_ptr<Executor> Program::make() const {
  return std::make_unique<ProgramExecutor>(shared_from_this(), nullptr);
}

std::unique_ptr<Executor> Program::make_timed(std::shared_ptr<StepNanoseconds> times) const {
  return std::make_unique<ProgramExecutor>(shared_from_this(), std::move(times));
}

}  // namespace recstack
