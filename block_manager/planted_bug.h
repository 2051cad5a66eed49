// Deliberate bugs, for the tests that show that the simulator and the model test notice them. Production code is
// compiled with none: every use is an `if constexpr`. tests/block_manager/CMakeLists.txt compiles the file that has a bug
// once more for it. Only .cc files may include this, so that all builds agree on every class.
#pragma once

#ifndef QUIRE_PLANT_BUG
#define QUIRE_PLANT_BUG 0
#endif

namespace quire {

enum class PlantedBug {
  kNone = 0,
  kSkippedDecref = 1,       // Release forgets the last page of a table.
  kSkippedCopyOnWrite = 2,  // Grow lets a table write to pages that others read.
  kEarlyFree = 3,           // A page is free when one holder is left.
  kTruncatedHash = 4,       // Few bits of key, and tokens that are not compared.
  kUncheckedPage = 5,       // What lies in a slot is taken for the page that was asked for.
  kPinnedLikePreferred = 6,  // A pinned lease is given up as a preferred one is.
};
inline constexpr PlantedBug kPlantedBug = static_cast<PlantedBug>(QUIRE_PLANT_BUG);

}  // namespace quire
