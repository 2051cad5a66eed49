// Where the keys of a tenant's KV pages begin.
#pragma once

#include <cstdint>
#include <string_view>

namespace quire {

// The root that all of a tenant's pages are found under: tenants with different roots never share a page, nor learn
// whether another has one. Of the model's fingerprint as key and the tenant's name as text (HMAC-SHA-256, cut to 64
// bits), so that it outlives a restart and differs between models. Never 0.
uint64_t CacheSalt(uint64_t fingerprint, std::string_view tenant);

}  // namespace quire
