// What AMX's tile registers are told of their shapes.
#pragma once

#include <cstdint>

namespace quire {

// What LDTILECFG reads: the shapes of the tile registers.
struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};  // At most 64.
  uint8_t rows[16] = {};        // At most 16. A register that is not used has neither rows nor row_bytes.
};
static_assert(sizeof(TileConfig) == 64);

}  // namespace quire
