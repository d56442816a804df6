#include "program/team_executor.h"

#include <algorithm>
#include <vector>

#include "core/team.h"

namespace recstack {
namespace {

class TeamExecutor final : public Executor {
 public:
  TeamExecutor(const ExecutorFactory& factory, int threads)
      : outputs_(factory.layout().outputs), statuses_(threads), team_(threads) {
    for (int i = 0; i < threads; ++i) executors_.push_back(factory.make());
  }

  Status run(const BatchView& batch, int64_t row_begin, int64_t row_end, float* out) override {
    const auto members = static_cast<int64_t>(executors_.size());
    const int64_t rows = row_end - row_begin;
    if (rows < 2 * members) return executors_[0]->run(batch, row_begin, row_end, out);
    team_.run([&](int part) {
      const int64_t begin = rows * part / members;
      const int64_t end = rows * (part + 1) / members;
      statuses_[part] =
          executors_[part]->run(batch, row_begin + begin, row_begin + end, out + begin * outputs_);
    });
    auto failed =
        std::find_if(statuses_.begin(), statuses_.end(), [](const Status& s) { return !s.ok(); });
    return failed == statuses_.end() ? Status{} : *failed;
  }

 private:
  int64_t outputs_;
  std::vector<std::unique_ptr<Executor>> executors_;
  std::vector<Status> statuses_;
  Team team_;
};

}  // namespace

std::unique_ptr<Executor> TeamFactory::make() const {
  if (threads_ == 1) return factory_->make();
  return std::make_unique<TeamExecutor>(*factory_, threads_);
}

}  // namespace recstack
