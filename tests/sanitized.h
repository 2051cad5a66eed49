// How tests of large grids spare builds under a sanitizer, where everything takes ten times as long: what checkers of
// memory and threads look for shows in a part of the cases, and plain builds run all of them.
#pragma once

namespace quire {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

// Tells which cases of a grid to test: all, or under a sanitizer the first of every `stride`. A stride that has no
// factor in common with what the cases repeat after meets all of that.
class GridCases {
 public:
  explicit GridCases(int stride) : stride_(kSanitized ? stride : 1) {}

  // Whether to test the next one.
  bool Takes() { return num_seen_++ % stride_ == 0; }

 private:
  int stride_;
  int num_seen_ = 0;
};

}  // namespace quire
