// Checks that print where, what and the case at hand, and make main's result non-zero.
#pragma once

#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>

namespace recstack::test {

inline int failures = 0;
inline std::string context;  // the case at hand, such as "avx2 rows=3 n=17"

inline bool report(bool ok, const char* file, int line, const std::string& what) {
  if (ok) return true;
  if (++failures <= 20) {
    std::fprintf(stderr, "%s:%d: %s [%s]\n", file, line, what.c_str(), context.c_str());
  }
  return false;
}

inline int finish() {
  if (failures > 0) std::fprintf(stderr, "%d checks failed\n", failures);
  return failures > 0 ? 1 : 0;
}

template <class A, class B>
bool check_equal(const A& got, const B& want, const char* text, const char* file, int line) {
  const bool ok = got == want;
  return ok || report(ok, file, line,
                      std::string(text) + ": got " + std::to_string(got) + ", expected " +
                          std::to_string(want));
}

inline bool check_near(double got, double want, double tolerance, const char* text,
                       const char* file, int line) {
  const bool ok = std::isnan(want)   ? std::isnan(got)
                  : std::isinf(want) ? got == want
                                     : std::fabs(got - want) <= tolerance;
  if (ok) return true;
  char what[256];
  std::snprintf(what, sizeof what, "%s: got %.9g, expected %.9g within %.3g", text, got, want,
                tolerance);
  return report(false, file, line, what);
}

// Equal bit for bit, so that -0 differs from 0 and NaN equals itself.
inline bool check_same_bits(const float* a, const float* b, long n, const char* text,
                            const char* file, int line) {
  for (long i = 0; i < n; ++i) {
    if (std::memcmp(a + i, b + i, sizeof(float)) != 0) {
      char what[256];
      std::snprintf(what, sizeof what, "%s: element %ld is %.9g, expected %.9g", text, i,
                    static_cast<double>(a[i]), static_cast<double>(b[i]));
      return report(false, file, line, what);
    }
  }
  return true;
}

}  // namespace recstack::test

#define CHECK(ok) ::recstack::test::report((ok), __FILE__, __LINE__, #ok)
#define CHECK_EQ(got, want) ::recstack::test::check_equal(got, want, #got, __FILE__, __LINE__)
#define CHECK_NEAR(got, want, tolerance) \
  ::recstack::test::check_near(got, want, tolerance, #got, __FILE__, __LINE__)
#define CHECK_SAME_BITS(a, b, n) ::recstack::test::check_same_bits(a, b, n, #a, __FILE__, __LINE__)
