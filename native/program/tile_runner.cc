#include "program/tile_runner.h"

#include <algorithm>
#include <utility>

namespace recstack {
namespace {

// The queries [first, last) with rows in [row_begin, row_end), a range that is not empty. One
// without rows belongs to the range that ends where it lies, so that each is checked, once.
std::pair<int64_t, int64_t> queries_of(const BatchView& batch, int64_t row_begin, int64_t row_end) {
  const int32_t* offsets = batch.query_offsets;
  const int32_t* end = offsets + batch.queries + 1;
  const int64_t first =
      row_begin == 0 ? 0 : std::upper_bound(offsets, end, row_begin) - offsets - 1;
  const int64_t last = std::upper_bound(offsets, end, row_end) - offsets - 1;
  return {first, offsets[last] < row_end ? last + 1 : last};
}

// Where the turns end that begin with step i, if their work is worth a meeting and `parts` threads
// with whole turns wait no longer than a third for each other; else the step after it.
size_t end_of_turns(const std::vector<StepPtr>& steps, size_t i, int parts) {
  size_t end = i + 1;
  if (steps[i]->turn != 0) return end;
  bool large = steps[i]->divides();
  for (; end < steps.size() && steps[end]->turn >= steps[end - 1]->turn; ++end) {
    large = large || steps[end]->divides();
  }
  const int64_t turns = steps[end - 1]->turn + 1, most = (turns + parts - 1) / parts;
  return large && 3 * most * parts <= 4 * turns ? end : i + 1;
}

}  // namespace

TileRunner::TileRunner(std::shared_ptr<const Program> program,
                       std::shared_ptr<StepNanoseconds> times)
    : program_(std::move(program)),
      times_(std::move(times)),
      item_(static_cast<size_t>(program_->spec().item_floats * program_->spec().tile_rows)),
      user_(static_cast<size_t>(program_->spec().user_floats * program_->spec().tile_rows)),
      query_of_row_(static_cast<size_t>(program_->spec().tile_rows)),
      cursors_(program_->layout().features.size()) {
  context_.layout = &program_->layout();
  context_.kernels = &program_->kernels();
  context_.capacity = program_->spec().tile_rows;
  context_.query_of_row = query_of_row_.data();
  context_.cursors = cursors_.data();
}

Status TileRunner::run(const BatchView& batch, int64_t row_begin, int64_t row_end, float* out) {
  crew_ = nullptr;
  context_.item = item_.data();
  context_.user = user_.data();
  context_.own = item_.data();
  context_.part = 0;
  context_.parts = 1;
  return run_tiles(batch, row_begin, row_end, out);
}

void TileRunner::lead(Crew& crew) {
  crew.item = item_.data();
  crew.user = user_.data();
  for (std::atomic<bool>& failed : crew.failed) failed.store(false, std::memory_order_relaxed);
}

Status TileRunner::run_shared(const BatchView& batch, int64_t row_begin, int64_t row_end,
                              float* out, int part, int parts, Crew& crew) {
  crew_ = &crew;
  meetings_ = 0;
  context_.item = crew.item;
  context_.user = crew.user;
  part_ = part;
  parts_ = parts;
  return run_tiles(batch, row_begin, row_end, out);
}

Status TileRunner::run_tiles(const BatchView& batch, int64_t row_begin, int64_t row_end,
                             float* out) {
  if (row_begin >= row_end) return {};
  context_.batch = &batch;
  place_cursors(batch);
  const int64_t tile = program_->spec().tile_rows;
  const int32_t* offsets = batch.query_offsets;
  const auto [first, last] = queries_of(batch, row_begin, row_end);
  int64_t row = row_begin;
  for (int64_t query = first, group; query < last; query += group) {
    group = std::min(tile, last - query);
    const int64_t group_end = std::min<int64_t>(offsets[query + group], row_end);
    if (Status s = run_queries(query, group); !s.ok()) return s;
    for (; row < group_end; row += context_.rows) {
      context_.row0 = row;
      context_.rows = std::min(tile, group_end - row);
      context_.out = out + (row - row_begin) * program_->layout().outputs;
      if (Status s = run_rows(); !s.ok()) return s;
    }
  }
  return {};
}

void TileRunner::place_cursors(const BatchView& batch) {
  const InputLayout& layout = program_->layout();
  const int32_t* lengths = batch.lengths;
  int64_t lookup = 0;
  for (size_t f = 0; f < cursors_.size(); ++f) {
    const int64_t entries = layout.features[f] == Scope::item ? batch.rows : batch.queries;
    cursors_[f] = {.lengths = lengths, .entry = 0, .lookup = lookup, .lookups = 0};
    lookup += count_lookups(f, 0, entries);
    lengths += entries;
  }
}

// Of entries [begin, end) of feature f.
int64_t TileRunner::count_lookups(size_t f, int64_t begin, int64_t end) const {
  const int64_t fixed = program_->layout().fixed_lengths[f];
  if (fixed != 0) return (end - begin) * fixed;
  int64_t lookups = 0;
  for (int64_t e = begin; e < end; ++e) lookups += cursors_[f].lengths[e];
  return lookups;
}

// Moves the features of `scope` on to entries [begin, begin + entries).
void TileRunner::advance_cursors(Scope scope, int64_t begin, int64_t entries) {
  for (size_t f = 0; f < cursors_.size(); ++f) {
    if (program_->layout().features[f] != scope) continue;
    FeatureCursor& at = cursors_[f];
    at.lookup += at.lookups;
    at.lookup += count_lookups(f, at.entry + at.entries, begin);
    at.entry = begin;
    at.entries = entries;
    at.lookups = count_lookups(f, begin, begin + entries);
  }
}

Status TileRunner::run_queries(int64_t query, int64_t queries) {
  context_.query0 = query;
  context_.queries = queries;
  advance_cursors(Scope::user, query, queries);
  const int64_t columns = program_->layout().user_dense_columns;
  if (Status s = check_finite(context_.batch->user_dense, columns, query, queries, true); !s.ok()) {
    return s;
  }
  return run_steps(Scope::user);
}

Status TileRunner::run_rows() {
  advance_cursors(Scope::item, context_.row0, context_.rows);
  const int64_t columns = program_->layout().dense_columns;
  if (Status s = check_finite(context_.batch->dense, columns, context_.row0, context_.rows, false);
      !s.ok()) {
    return s;
  }
  const int32_t* offsets = context_.batch->query_offsets + context_.query0;
  for (int64_t r = 0, q = 0; r < context_.rows; ++r) {
    while (offsets[q + 1] <= context_.row0 + r) ++q;
    query_of_row_[r] = static_cast<int32_t>(q);
  }
  return run_steps(Scope::item);
}

Status TileRunner::run_steps(Scope scope) {
  const bool user = scope == Scope::user;
  const std::vector<StepPtr>& steps = user ? program_->user_steps() : program_->item_steps();
  if (crew_ != nullptr) return run_steps_together(steps);
  if (times_) return (user ? times_->user : times_->item).run(steps, context_);
  for (const StepPtr& step : steps) {
    if (Status s = step->run(context_); !s.ok()) return s;
  }
  return {};
}

// Threads meet where work was divided or will be; between two such places part 0 runs alone.
Status TileRunner::run_steps_together(const std::vector<StepPtr>& steps) {
  Status status;
  for (size_t i = 0, end; i < steps.size(); i = end) {
    end = end_of_turns(steps, i, parts_);
    const bool turns = end > i + 1, divided = turns || steps[i]->divides();
    context_.own = turns ? item_.data() : crew_->item;
    context_.part = divided ? part_ : 0;
    context_.parts = divided ? parts_ : 1;
    if (status.ok() && (divided || part_ == 0)) {
      status = turns ? run_turns(steps, i, end) : steps[i]->run(context_);
    }
    const bool last = end == steps.size();
    if (divided || last || steps[end]->divides() || end_of_turns(steps, end, parts_) > end + 1) {
      if (!all_well(status.ok())) {
        return status.ok() ? Status{.code = Status::Code::stopped} : status;
      }
    }
  }
  return {};
}

// This part's share of the turns that steps [begin, end) are, each whole.
Status TileRunner::run_turns(const std::vector<StepPtr>& steps, size_t begin, size_t end) {
  const int64_t turns = steps[end - 1]->turn + 1;
  const int64_t first = context_.share(turns, part_), last = context_.share(turns, part_ + 1);
  context_.part = 0;
  context_.parts = 1;
  Status status;
  for (size_t i = begin; i < end && status.ok(); ++i) {
    const int64_t turn = steps[i]->turn;
    if (turn < first || turn >= last) continue;
    context_.goes_on = turn > first;
    context_.leads_on = turn + 1 < last;
    status = steps[i]->run(context_);
  }
  context_.goes_on = context_.leads_on = true;
  return status;
}

// Waits for the other threads; whether all say that they are well.
bool TileRunner::all_well(bool well) {
  std::atomic<bool>& failed = crew_->failed[meetings_++ % 2];
  if (!well) failed.store(true, std::memory_order_relaxed);
  crew_->barrier.arrive_and_wait();
  return !failed.load(std::memory_order_relaxed);
}

// `feature` of the status is 1 for user_dense, 0 for dense; `column` counts all their columns.
Status TileRunner::check_finite(const float* x, int64_t columns, int64_t entry, int64_t entries,
                                bool user) {
  if (columns == 0 || !program_->layout().finite) return {};
  const int64_t bad =
      program_->kernels().act.find_non_finite_f32(x + entry * columns, entries * columns);
  if (bad < 0) return {};
  return {.code = Status::Code::non_finite,
          .feature = user ? 1 : 0,
          .entry = entry + bad / columns,
          .column = bad % columns};
}

}  // namespace recstack
