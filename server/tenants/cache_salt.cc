#include "server/tenants/cache_salt.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <array>

#include "kernels/check.h"

namespace quire {

uint64_t CacheSalt(uint64_t fingerprint, std::string_view tenant) {
  // The same on machines of either byte order, as a file of pages may travel.
  std::array<uint8_t, 8> key;
  for (size_t i = 0; i < key.size(); ++i) key[i] = static_cast<uint8_t>(fingerprint >> (8 * i));
  std::array<uint8_t, EVP_MAX_MD_SIZE> digest;
  const uint8_t* done = HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
                             reinterpret_cast<const uint8_t*>(tenant.data()), tenant.size(), digest.data(), nullptr);
  QUIRE_CHECK(done != nullptr);
  uint64_t salt = 0;
  for (size_t i = 0; i < sizeof(salt); ++i) salt |= uint64_t{digest[i]} << (8 * i);
  return salt == 0 ? 1 : salt;
}

}  // namespace quire
