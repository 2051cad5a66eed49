// The conversions of the emulated toolkit, against definitions that look for the nearest of all numbers of the format.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <vector>

namespace quire {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// The numbers of a format that are not negative, ascending, so that index is code; `overflow` is what the first number
// beyond the largest would be, and gets the code after it.
struct Format {
  std::vector<double> values;
  double overflow = 0;
};

Format MakeFormat(int fraction_bits, int min_exponent, int max_exponent, int top_codes_unused) {
  Format format;
  const int steps = 1 << fraction_bits;
  for (int i = 0; i < steps; ++i) format.values.push_back(std::ldexp(i, min_exponent - fraction_bits));
  for (int exponent = min_exponent; exponent <= max_exponent; ++exponent) {
    for (int i = 0; i < steps; ++i) format.values.push_back(std::ldexp(steps + i, exponent - fraction_bits));
  }
  format.values.resize(format.values.size() - top_codes_unused);
  format.overflow = 2 * format.values.back() - format.values[format.values.size() - 2];
  return format;
}

// The code nearest to a number that is not negative; of two, the even one.
int NearestCode(const Format& format, double x) {
  const auto above = std::upper_bound(format.values.begin(), format.values.end(), x);
  const int low = static_cast<int>(above - format.values.begin()) - 1;
  const double low_value = format.values[low];
  const double high_value = above == format.values.end() ? format.overflow : *above;
  if (x - low_value < high_value - x) return low;
  if (x - low_value > high_value - x) return low + 1;
  return low % 2 == 0 ? low : low + 1;
}

// All numbers of the format, what lies half-way between neighbours, the float32s next to those, and random ones.
std::vector<float> Interesting(const Format& format) {
  std::vector<float> result;
  const auto add = [&](double x) {
    const auto f = static_cast<float>(x);
    for (float y : {std::nextafter(f, 0.0f), f, std::nextafter(f, kInfinity)}) result.push_back(y);
  };
  for (size_t i = 0; i < format.values.size(); ++i) {
    add(format.values[i]);
    const double next = i + 1 < format.values.size() ? format.values[i + 1] : format.overflow;
    add((format.values[i] + next) / 2);
  }
  std::mt19937 random(7);
  for (int i = 0; i < 200'000; ++i) {
    const float x = std::fabs(std::bit_cast<float>(static_cast<uint32_t>(random())));
    if (std::isfinite(x)) result.push_back(x);
  }
  return result;
}

TEST(NumberFormats, BFloat16RoundsToNearestEven) {
  const Format format = MakeFormat(7, -126, 127, 0);
  for (float x : Interesting(format)) {
    if (!std::isfinite(x)) continue;
    const int code = NearestCode(format, x);
    ASSERT_EQ(__bfloat16_as_ushort(__float2bfloat16_rn(x)), code) << x;
    ASSERT_EQ(__bfloat16_as_ushort(__float2bfloat16_rn(-x)), code | 0x8000) << x;
  }
  EXPECT_EQ(__bfloat16_as_ushort(__float2bfloat16_rn(kNan)), 0x7fff);
  EXPECT_EQ(__bfloat16_as_ushort(__float2bfloat16_rn(-kNan)), 0x7fff);
  EXPECT_EQ(__bfloat16_as_ushort(__float2bfloat16_rn(-kInfinity)), 0xff80);
}

TEST(NumberFormats, BFloat16WidensExactly) {
  const Format format = MakeFormat(7, -126, 127, 0);
  for (size_t code = 0; code < format.values.size(); ++code) {
    const __nv_bfloat16 x = __ushort_as_bfloat16(static_cast<unsigned short>(code));
    ASSERT_EQ(__bfloat162float(x), format.values[code]);
  }
}

TEST(NumberFormats, Float16RoundsToNearestEvenAndOverflows) {
  const Format format = MakeFormat(10, -14, 15, 0);
  for (float x : Interesting(format)) {
    const int code = x >= format.overflow ? 0x7c00 : NearestCode(format, x);
    ASSERT_EQ(__half_as_ushort(__float2half_rn(x)), code) << x;
    ASSERT_EQ(__half_as_ushort(__float2half_rn(-x)), code | 0x8000) << x;
  }
  EXPECT_EQ(__half_as_ushort(__float2half_rn(-kNan)), 0x7fff);
  EXPECT_EQ(__half_as_ushort(__float2half_rn(kInfinity)), 0x7c00);
}

TEST(NumberFormats, Float16WidensExactly) {
  const Format format = MakeFormat(10, -14, 15, 0);
  for (size_t code = 0; code < format.values.size(); ++code) {
    ASSERT_EQ(__half2float(__ushort_as_half(static_cast<unsigned short>(code))), format.values[code]);
  }
}

TEST(NumberFormats, Fp8RoundsToNearestEvenAndSaturates) {
  const Format format = MakeFormat(3, -6, 8, 1);
  EXPECT_EQ(format.values.back(), 448);
  for (float x : Interesting(format)) {
    const int code = x >= format.overflow ? 0x7f : NearestCode(format, x);
    ASSERT_EQ(__nv_cvt_float_to_fp8(x, __NV_SATFINITE, __NV_E4M3), std::min(code, 0x7e)) << x;
    ASSERT_EQ(__nv_cvt_float_to_fp8(-x, __NV_SATFINITE, __NV_E4M3), std::min(code, 0x7e) | 0x80) << x;
    ASSERT_EQ(__nv_cvt_float_to_fp8(x, __NV_NOSAT, __NV_E4M3), code) << x;
  }
  for (float nan : {kNan, -kNan}) EXPECT_EQ(__nv_cvt_float_to_fp8(nan, __NV_SATFINITE, __NV_E4M3), 0x7f);
  EXPECT_EQ(__nv_cvt_float_to_fp8(-kInfinity, __NV_SATFINITE, __NV_E4M3), 0xfe);
  EXPECT_EQ(__nv_fp8_e4m3(1000.0f).__x, 0x7e);
}

TEST(NumberFormats, Fp8WidensExactly) {
  const Format format = MakeFormat(3, -6, 8, 1);
  for (size_t code = 0; code < format.values.size(); ++code) {
    __nv_fp8_e4m3 x;
    x.__x = static_cast<__nv_fp8_storage_t>(code);
    ASSERT_EQ(static_cast<float>(x), format.values[code]);
    x.__x |= 0x80;
    ASSERT_EQ(static_cast<float>(x), -format.values[code]);
  }
  for (int code : {0x7f, 0xff}) {
    EXPECT_EQ(__nv_cvt_fp8_to_halfraw(static_cast<__nv_fp8_storage_t>(code), __NV_E4M3).x, 0x7fff);
  }
}

TEST(NumberFormats, PairsHaveTheirFirstElementInTheLowHalf) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(1, 2);
  EXPECT_EQ(std::bit_cast<uint32_t>(pair), 0x4000'3f80u);
  EXPECT_EQ(__low2float(pair), 1);
  EXPECT_EQ(__bfloat1622float2(pair).y, 2);
  const __nv_fp8x2_storage_t codes = __nv_cvt_float2_to_fp8x2({1, 2}, __NV_SATFINITE, __NV_E4M3);
  EXPECT_EQ(codes, 0x40'38);
  const __half2 halves = __nv_cvt_fp8x2_to_halfraw2(codes, __NV_E4M3);
  EXPECT_EQ(__half22float2(halves).x, 1);
  EXPECT_EQ(__high2float(halves), 2);
}

}  // namespace
}  // namespace quire
