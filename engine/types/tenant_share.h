// TenantShare: what of the engine goes to one tenant, whom it knows by a number only.
#pragma once

#include <cstdint>

namespace quire {

struct TenantShare {
  uint64_t id = 0;
  double weight = 1;          // Of its share, where several want more than there is. > 0.
  int max_pages = 0;          // That its running sequences may hold; 0: all.
  int max_queued_tokens = 0;  // Of its sequences that wait; 0: as many as of anybody's.
};

}  // namespace quire
