// PageEvent: what happened to the full, computed pages of the prefix index. Whoever applies a pool's events in order
// knows at any time which pages can be shared: a router that sends requests to where their prefix is, for instance.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "block_manager/ids.h"

namespace quire {

struct PageEvent {
  enum class Kind : uint8_t {
    kStored,   // The page can be shared from now on. Its parent could be before it, and still can.
    kRemoved,  // It no longer can. Pages that follow it went before it.
    kCleared,  // None can.
  };

  Kind kind = Kind::kCleared;
  // Of the salt and of all tokens up to the page's end: equal pages have equal hashes, in every process. 0 with
  // kCleared.
  uint64_t hash = 0;
  // With kStored: of the page before it, unless it is the first of its sequence; and what it holds.
  std::optional<uint64_t> parent_hash = {};
  std::vector<TokenId> tokens = {};
  uint64_t salt = 0;  // Whose page it is; 0 with kCleared.

  friend bool operator==(const PageEvent&, const PageEvent&) = default;
};

}  // namespace quire
