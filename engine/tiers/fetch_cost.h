// FetchCost: whether it pays to fetch a page or to compute it again, by what either took lately.
#pragma once

#include <array>

#include "absl/time/time.h"

namespace quire {

enum class KvTier { kHost, kDisk };
inline constexpr int kNumKvTiers = 2;

class FetchCost {
 public:
  // `num_tokens` were computed in one step, or `num_pages` were fetched from one tier, in this time.
  void NoteStep(int num_tokens, absl::Duration took);
  void NoteFetch(KvTier tier, int num_pages, absl::Duration took);

  // Whether this many pages of either tier, which hold num_tokens, are there sooner when they are fetched. As long as one
  // of the two is not known they are fetched, and a fetch that is not made looks a little cheaper the next time: a tier
  // that was slow once is tried again.
  bool Pays(const std::array<int, kNumKvTiers>& num_pages, int num_tokens);

 private:
  // A moving average of seconds for one; 0: not known.
  static void Average(double& seconds, double sample);

  double step_seconds_a_token_ = 0;
  std::array<double, kNumKvTiers> fetch_seconds_a_page_ = {};
};

}  // namespace quire
