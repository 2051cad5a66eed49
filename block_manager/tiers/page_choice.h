// PageChoice: which of a tier's pages are to be given up on request.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "block_manager/tiers/page_slots.h"

namespace quire {

struct PageChoice {
  uint64_t salt = 0;
  std::vector<TokenId> prefix;  // Empty: everything of the salt.
};

// The pages, by their indices, that begin with the prefix; where there are any, or it ends with a page, those of its own
// end that no other page here follows; and those whose beginning is not here, as nothing tells what it is. O(pages).
std::vector<size_t> ChoosePages(const PageChoice& choice, std::span<const FoundPage> pages);

}  // namespace quire
