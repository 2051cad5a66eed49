// The two numbers that the block manager deals in.
#pragma once

#include <cstdint>

namespace quire {

using TokenId = int32_t;
// Index of a page in the pool, 0 to num_blocks - 1.
using BlockId = int32_t;
inline constexpr BlockId kNoBlock = -1;

}  // namespace quire
