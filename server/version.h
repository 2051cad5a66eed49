// The program's version, as users know it.
#pragma once

namespace quire {

inline constexpr char kVersion[] = QUIRE_VERSION;

}  // namespace quire
