// CachedPrefix: a sequence of pages in the prefix index, for those who want to see what the cache holds.
#pragma once

#include <vector>

#include "block_manager/ids.h"

namespace quire {

struct CachedPrefix {
  static constexpr int kMaxFirstTokens = 32;

  int num_tokens = 0;
  int num_blocks = 0;
  int num_used_blocks = 0;    // Of these, those that a request or a lease holds,
  int num_leased_blocks = 0;  // and those that a lease does.
  std::vector<TokenId> first_tokens;  // At most kMaxFirstTokens.
};

}  // namespace quire
