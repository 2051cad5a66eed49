#include "engine/tiers/fetch_cost.h"

namespace quire {
namespace {

constexpr double kWeightOfNewest = 0.2;
constexpr double kForgiveness = 0.95;
// Smaller steps say what a step costs, not what a prompt's tokens do.
constexpr int kFewestTokens = 32;

}  // namespace

void FetchCost::Average(double& seconds, double sample) {
  if (sample <= 0) return;  // A clock was set back.
  seconds = seconds == 0 ? sample : seconds + kWeightOfNewest * (sample - seconds);
}

void FetchCost::NoteStep(int num_tokens, absl::Duration took) {
  if (num_tokens >= kFewestTokens) Average(step_seconds_a_token_, absl::ToDoubleSeconds(took) / num_tokens);
}

void FetchCost::NoteFetch(KvTier tier, int num_pages, absl::Duration took) {
  Average(fetch_seconds_a_page_[static_cast<int>(tier)], absl::ToDoubleSeconds(took) / num_pages);
}

bool FetchCost::Pays(const std::array<int, kNumKvTiers>& num_pages, int num_tokens) {
  double seconds = 0;
  for (int tier = 0; tier < kNumKvTiers; ++tier) seconds += num_pages[tier] * fetch_seconds_a_page_[tier];
  if (step_seconds_a_token_ == 0 || seconds <= num_tokens * step_seconds_a_token_) return true;
  for (int tier = 0; tier < kNumKvTiers; ++tier) {
    if (num_pages[tier] > 0) fetch_seconds_a_page_[tier] *= kForgiveness;
  }
  return false;
}

}  // namespace quire
