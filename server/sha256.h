// SHA-256, by OpenSSL.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace quire {

std::array<uint8_t, 32> Sha256(std::string_view bytes);
// In lower-case hexadecimal.
std::string Sha256Hex(std::string_view bytes);

}  // namespace quire
