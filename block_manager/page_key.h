// PageKey: what a full page is known by where it cannot be told by its place in the pool: on the host and on disk, now
// and after a restart. Two hashes of the salt and of all tokens up to the page's end. They find a page; whether it is
// the right one is decided by its tokens and by its parent's key.
#pragma once

#include <cstdint>
#include <utility>

namespace quire {

struct PageKey {
  uint64_t hash = 0;   // See PrefixIndex::PageHash.
  uint64_t check = 0;  // The same from another root.

  friend bool operator==(const PageKey&, const PageKey&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const PageKey& key) {
    return H::combine(std::move(h), key.hash, key.check);
  }
};

}  // namespace quire
