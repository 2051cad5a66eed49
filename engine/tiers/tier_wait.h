// What a waiting sequence has cost the tiers so far.
#pragma once

#include <cstdint>

#include "absl/time/time.h"

namespace quire {

struct TierWait {
  absl::Time since = absl::InfiniteFuture();  // When the fetch was begun that it waits for.
  int64_t num_pages = 0;                      // That were fetched for it.
  bool over = false;                          // It waits for no other.
};

}  // namespace quire
