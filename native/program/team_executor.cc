#include "program/team_executor.h"

#include <algorithm>
#include <vector>

#include "program/tile_runner.h"

namespace recstack {
namespace {

// Rows per thread from which each thread does well to stream all weights for rows of its own.
constexpr int64_t kRowsEach = 8;
// Weights that a core's own cache holds cost little to stream twice.
constexpr int64_t kOwnCacheFloats = (1 << 20) / 4;

class TeamExecutor final : public Executor {
 public:
  TeamExecutor(const std::shared_ptr<const Program>& program, int threads)
      : program_(program), statuses_(threads), team_(threads), crew_(threads) {
    for (int i = 0; i < threads; ++i) {
      runners_.push_back(std::make_unique<TileRunner>(program));
    }
  }

  Status run(const BatchView& batch, int64_t row_begin, int64_t row_end, float* out) override {
    const int64_t rows = row_end - row_begin;
    const auto members = static_cast<int64_t>(runners_.size());
    const int64_t enough = program_->shared_floats() > kOwnCacheFloats ? kRowsEach : 1;
    if (rows >= enough * members) {
      run_by_rows(batch, row_begin, row_end, out);
    } else {
      run_by_steps(batch, row_begin, row_end, out);
    }
    const Status* stopped = nullptr;
    for (const Status& s : statuses_) {
      if (s.code == Status::Code::stopped) {
        stopped = &s;
      } else if (!s.ok()) {
        return s;
      }
    }
    return stopped == nullptr ? Status{} : *stopped;
  }

 private:
  void run_by_rows(const BatchView& batch, int64_t row_begin, int64_t row_end, float* out) {
    const int64_t rows = row_end - row_begin, members = team_.members();
    const int64_t outputs = program_->layout().outputs;
    team_.run([&](int part) {
      const int64_t begin = rows * part / members, end = rows * (part + 1) / members;
      statuses_[part] =
          runners_[part]->run(batch, row_begin + begin, row_begin + end, out + begin * outputs);
    });
  }

  void run_by_steps(const BatchView& batch, int64_t row_begin, int64_t row_end, float* out) {
    runners_[0]->lead(crew_);
    team_.run([&](int part) {
      statuses_[part] =
          runners_[part]->run_shared(batch, row_begin, row_end, out, part, team_.members(), crew_);
    });
  }

  std::shared_ptr<const Program> program_;
  std::vector<std::unique_ptr<TileRunner>> runners_;
  std::vector<Status> statuses_;
  Team team_;
  Crew crew_;
};

}  // namespace

std::unique_ptr<Executor> TeamFactory::make() const {
  if (threads_ == 1) return program_->make();
  return std::make_unique<TeamExecutor>(program_, threads_);
}

}  // namespace recstack
