#include "kernels/dequantize.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <string_view>
#include <vector>

#include "kernels/float16.h"
#include "tests/kernels/dequantize_fixture.h"

namespace quire {
namespace {

std::vector<std::byte> FromHex(std::string_view digits) {
  const auto value = [](char digit) { return digit <= '9' ? digit - '0' : digit - 'a' + 10; };
  std::vector<std::byte> bytes(digits.size() / 2);
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<std::byte>(value(digits[2 * i]) * 16 + value(digits[2 * i + 1]));
  }
  return bytes;
}

TEST(DequantizeRow, AgreesWithTheFormatsOwnPackageBitForBit) {
  for (const DequantizeFixture& fixture : kDequantizeFixtures) {
    SCOPED_TRACE(TraitsOf(fixture.dtype).name);
    const std::vector<std::byte> blocks = FromHex(fixture.blocks);
    const std::vector<std::byte> value_bytes = FromHex(fixture.values);
    std::vector<float> expected(value_bytes.size() / sizeof(float));
    std::memcpy(expected.data(), value_bytes.data(), value_bytes.size());
    ASSERT_EQ(blocks.size(),
              expected.size() / TraitsOf(fixture.dtype).block_elements * TraitsOf(fixture.dtype).block_bytes);
    std::vector<float> actual(expected.size(), std::nanf(""));
    DequantizeRow(fixture.dtype, blocks.data(), actual);
    EXPECT_EQ(actual, expected);
  }
}

TEST(Float16, SurvivesTheWayThroughFloat) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = FromFloat16(static_cast<uint16_t>(bits));
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(FromFloat16(ToFloat16(value)))) << bits;
    } else {
      EXPECT_EQ(ToFloat16(value), bits);
    }
  }
}

TEST(Float16, RoundsToTheNearestAndTiesToEven) {
  // Halfway between each float16 and the next lies one that must go to the even one; a hair beside it, to the nearer.
  for (uint32_t bits = 0; bits < 0x7bff; ++bits) {
    const uint16_t low = static_cast<uint16_t>(bits), high = static_cast<uint16_t>(bits + 1);
    const float middle = (FromFloat16(low) + FromFloat16(high)) / 2;
    EXPECT_EQ(ToFloat16(middle), low % 2 == 0 ? low : high);
    EXPECT_EQ(ToFloat16(std::nextafter(middle, 0.0f)), low);
    EXPECT_EQ(ToFloat16(std::nextafter(middle, 1e9f)), high);
    EXPECT_EQ(ToFloat16(-middle), ToFloat16(middle) | 0x8000);
  }
  EXPECT_EQ(ToFloat16(65519.0f), 0x7bff);
  EXPECT_EQ(ToFloat16(65520.0f), 0x7c00);
  EXPECT_EQ(ToFloat16(1e30f), 0x7c00);
  EXPECT_EQ(ToFloat16(-std::numeric_limits<float>::infinity()), 0xfc00);
}

}  // namespace
}  // namespace quire
