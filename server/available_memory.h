// How much memory this process may still take.
#pragma once

#include <cstdint>

namespace quire {

// The machine's available memory, or what its control group leaves where that is less. Bytes; 0 if it cannot be told.
int64_t AvailableMemory();

}  // namespace quire
