// The pages of one sequence, in order: token i lies in blocks[i / block_size] at offset i % block_size.
#pragma once

#include <cstdint>
#include <vector>

#include "block_manager/ids.h"

namespace quire {

// Filled and emptied by BlockManager only; everyone else reads. Holds one reference on each of its blocks. Must be
// given back with BlockManager::Release before it is destroyed.
struct BlockTable {
  std::vector<BlockId> blocks;
  // Leading blocks that are in the prefix index, either found there or committed; their contents never change again.
  int num_indexed_blocks = 0;
  // Root of the sequence's keys: tenants with different salts never share a page.
  uint64_t salt = 0;
  // Which filling of the index the sequence's pages belong to (see BlockManager::ClearCache); 0 for none.
  uint64_t index_epoch = 0;
};

}  // namespace quire
