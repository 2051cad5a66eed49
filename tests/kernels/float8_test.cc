#include "kernels/float8.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace quire {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Of code 0 to 0x7e.
double ValueOf(int code) { return code < 8 ? std::ldexp(code, -9) : std::ldexp(8 + code % 8, code / 8 - 10); }

TEST(Float8, RoundsToTheNearestAndTiesToEven) {
  for (int code = 0; code <= 0x7e; ++code) {
    const auto value = static_cast<float>(ValueOf(code));
    EXPECT_EQ(ToFloat8(value), code);
    EXPECT_EQ(ToFloat8(-value), code | 0x80);
    if (code == 0x7e) continue;
    const auto middle = static_cast<float>((ValueOf(code) + ValueOf(code + 1)) / 2);
    EXPECT_EQ(ToFloat8(middle), code + code % 2);
    EXPECT_EQ(ToFloat8(std::nextafter(middle, 0.0f)), code);
    EXPECT_EQ(ToFloat8(std::nextafter(middle, kInfinity)), code + 1);
  }
}

TEST(Float8, SaturatesAndKeepsNaN) {
  for (const float value : {449.0f, 464.0f, 480.0f, 1e30f, kInfinity}) {
    EXPECT_EQ(ToFloat8(value), 0x7e);
    EXPECT_EQ(ToFloat8(-value), 0xfe);
  }
  EXPECT_EQ(ToFloat8(std::nanf("")) & 0x7f, 0x7f);
  EXPECT_EQ(ToFloat8(1e-45f), 0);
}

TEST(Float8, ScalesThePeakTo448) {
  for (const float peak : {1e-32f, 0.3f, 1.0f, 448.0f, 1e20f, std::numeric_limits<float>::max()}) {
    const Float8Scale scale = Float8ScaleOf(peak);
    EXPECT_EQ(ToFloat8(peak * scale.inverse), 0x7e) << peak;
    EXPECT_FLOAT_EQ(scale.scale * 448, peak);
  }
}

TEST(Float8, TakesForZerosWhatHasNoReciprocal) {
  for (const float peak : {0.0f, 1e-45f, 1e-38f, 1e-34f}) {
    const Float8Scale scale = Float8ScaleOf(peak);
    EXPECT_EQ(scale.inverse, 0) << peak;
    EXPECT_LE(scale.scale, peak);
  }
}

TEST(Float8, HasAScaleOfNaNWhereThePeakIsNotFinite) {
  for (const float peak : {kInfinity, std::nanf("")}) {
    EXPECT_TRUE(std::isnan(Float8ScaleOf(peak).scale));
    EXPECT_EQ(Float8ScaleOf(peak).inverse, 0);
  }
}

}  // namespace
}  // namespace quire
