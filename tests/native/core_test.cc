// Teams, fills and pages.
#include <atomic>
#include <cstring>
#include <vector>

#include "check.h"
#include "core/fill.h"
#include "core/pages.h"
#include "core/team.h"

namespace {

void every_part_runs_once_a_round() {
  for (const int members : {1, 2, 5}) {
    recstack::Team team(members);
    CHECK(team.members() == members);
    std::vector<std::atomic<int>> ran(members);
    for (int round = 0; round < 200; ++round) {
      team.run([&](int part) { ran[part].fetch_add(1); });
      for (int part = 0; part < members; ++part) CHECK(ran[part].load() == round + 1);
    }
  }
}

void a_fill_does_not_depend_on_threads() {
  std::vector<float> one(100003), many(one.size());
  recstack::fill_uniform(one.data(), one.size(), 7, 3, -1.0f, 2.0f, 1);
  recstack::fill_uniform(many.data(), many.size(), 7, 3, -1.0f, 2.0f, 4);
  CHECK(std::memcmp(one.data(), many.data(), one.size() * sizeof(float)) == 0);
  for (const float x : one) CHECK(x >= -1.0f && x <= 2.0f);
}

void pages_are_zeroed_and_aligned() {
  for (const size_t bytes : {size_t{0}, size_t{1}, size_t{4097}, size_t{5} << 20}) {
    const recstack::Pages pages = recstack::Pages::allocate(bytes);
    CHECK(pages.size() == bytes);
    if (bytes == 0) continue;
    CHECK(reinterpret_cast<uintptr_t>(pages.data()) % 64 == 0);
    for (size_t i = 0; i < bytes; i += 997) CHECK(pages.data()[i] == 0);
    pages.data()[bytes - 1] = 1;
  }
}

}  // namespace

int main() {
  every_part_runs_once_a_round();
  a_fill_does_not_depend_on_threads();
  pages_are_zeroed_and_aligned();
  return recstack::test::finish();
}
