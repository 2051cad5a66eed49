#include "server/tenants/cache_salt.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace quire {
namespace {

TEST(CacheSalt, DiffersByTenantAndModelAndStaysTheSame) {
  std::set<uint64_t> salts;
  for (int i = 0; i < 1000; ++i) {
    salts.insert(CacheSalt(1, std::to_string(i)));
    salts.insert(CacheSalt(2, std::to_string(i)));
  }
  EXPECT_EQ(salts.size(), 2000u);
  EXPECT_FALSE(salts.contains(0));
  EXPECT_EQ(CacheSalt(0x0123456789abcdef, "default"), CacheSalt(0x0123456789abcdef, "default"));
}

}  // namespace
}  // namespace quire
