// QUIRE_CHECK: an assertion that stays on in release, for bugs only. What a caller, a file or a peer can cause is an
// absl::Status instead. It lives in the lowest library so that every folder can use it.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace quire::internal {
[[noreturn]] inline void CheckFailed(const char* file, int line, const char* condition) {
  std::fprintf(stderr, "%s:%d: check failed: %s\n", file, line, condition);
  std::abort();
}
}  // namespace quire::internal

#define QUIRE_CHECK(condition)                                          \
  do {                                                                  \
    if (!(condition)) [[unlikely]]                                      \
      ::quire::internal::CheckFailed(__FILE__, __LINE__, #condition);   \
  } while (false)
