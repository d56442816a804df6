// Whether a lane is given work: after kFailures batches in a row that its executor failed, whatever
// was in them, not for a pause, which doubles each time; then one batch tries it again.
#pragma once

#include <algorithm>
#include <cstdint>

namespace recstack {

// How a batch went.
enum class Ended : uint8_t {
  well,    // all of it was scored
  unsure,  // some of it was not, which the queries may be to blame for
  failed,  // nothing was scored, and the queries are not to blame
};

class LaneHealth {
 public:
  static constexpr int32_t kFailures = 3;
  static constexpr int64_t kFirstPauseNs = 100'000'000;
  static constexpr int64_t kLongestPauseNs = 60'000'000'000;

  // Whether that is one failure too many.
  bool ended(Ended how) {
    if (how == Ended::well) *this = LaneHealth{};
    if (how == Ended::failed) failures_ += 1;
    return failures_ >= kFailures;
  }

  void pause(int64_t now_ns) {
    back_ns_ = now_ns + pause_ns_;
    pause_ns_ = std::min(2 * pause_ns_, kLongestPauseNs);
  }

  int64_t back_ns() const { return back_ns_; }

 private:
  int32_t failures_ = 0;
  int64_t pause_ns_ = kFirstPauseNs;  // the next one
  int64_t back_ns_ = 0;               // the end of the last one
};

}  // namespace recstack
