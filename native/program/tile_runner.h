// Runs a program's steps over row tiles: alone, or as one of several threads that share each step.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "core/aligned.h"
#include "core/team.h"
#include "program/program.h"
#include "program/step_times.h"

namespace recstack {

// What the threads of a shared run have in common.
struct Crew {
  explicit Crew(int members) : barrier(members) {}
  Barrier barrier;
  std::atomic<bool> failed[2];  // by turns, so that a late reader never sees the next meeting's
  float* item = nullptr;        // the workspace that all of them use
  float* user = nullptr;
};

class TileRunner final : public Executor {
 public:
  // `times`, unless null, takes what each step of a run alone spends.
  explicit TileRunner(std::shared_ptr<const Program> program,
                      std::shared_ptr<StepNanoseconds> times = nullptr);

  Status run(const BatchView& batch, int64_t row_begin, int64_t row_end, float* out) override;

  // The same as `part` of `parts` threads: each calls this at once, on a runner of its own, with
  // the crew that `lead` prepared. Steps that can divide their work do; part 0 runs the others.
  // When a run fails, the threads that did not see why return Status::Code::stopped.
  Status run_shared(const BatchView& batch, int64_t row_begin, int64_t row_end, float* out,
                    int part, int parts, Crew& crew);
  // Lets `crew` use this runner's workspace.
  void lead(Crew& crew);

 private:
  Status run_tiles(const BatchView& batch, int64_t row_begin, int64_t row_end, float* out);
  void place_cursors(const BatchView& batch);
  int64_t count_lookups(size_t feature, int64_t begin, int64_t end) const;
  void advance_cursors(Scope scope, int64_t begin, int64_t entries);
  Status run_queries(int64_t query, int64_t queries);
  Status run_rows();
  Status run_steps(Scope scope);
  Status run_steps_together(const std::vector<StepPtr>& steps);
  Status run_turns(const std::vector<StepPtr>& steps, size_t begin, size_t end);
  bool all_well(bool well);
  Status check_finite(const float* x, int64_t columns, int64_t entry, int64_t entries, bool user);

  std::shared_ptr<const Program> program_;
  std::shared_ptr<StepNanoseconds> times_;
  AlignedFloats item_;
  AlignedFloats user_;
  std::vector<int32_t> query_of_row_;
  std::vector<FeatureCursor> cursors_;
  Context context_;
  Crew* crew_ = nullptr;
  int part_ = 0;
  int parts_ = 1;
  unsigned meetings_ = 0;
};

}  // namespace recstack
