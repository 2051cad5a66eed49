// PageRecord: all that says which page a tier's bytes are.
#pragma once

#include <cstdint>
#include <vector>

#include "block_manager/ids.h"
#include "block_manager/page_key.h"

namespace quire {

struct PageRecord {
  PageKey key;
  PageKey parent;  // Of the page before it, or the salt's root.
  uint64_t salt = 0;
  std::vector<TokenId> tokens;  // A page's worth.

  friend bool operator==(const PageRecord&, const PageRecord&) = default;
};

}  // namespace quire
