#include "engine/sampling/logit_passes.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>

// The loops below are compiled with -fopenmp-simd: the pragmas let the compiler split a reduction over vector lanes,
// which the rules for floating point otherwise forbid. The split is fixed when the code is compiled.

namespace quire {
namespace {

std::span<const float> BlockAt(std::span<const float> logits, size_t begin) {
  return logits.subspan(begin, std::min(kLogitBlock, logits.size() - begin));
}

float BlockMaximum(std::span<const float> logits) {
  float maximum = -std::numeric_limits<float>::infinity();
#pragma omp simd reduction(max : maximum)
  for (size_t i = 0; i < logits.size(); ++i) maximum = logits[i] > maximum ? logits[i] : maximum;
  return maximum;
}

// e^x for x <= 0: 2^n e^r with n = round(x / ln 2) and a Taylor polynomial for |r| <= (ln 2) / 2.
inline float ExpNonPositive(float x) {
  constexpr float kLowest = -87.0f;  // Above the subnormals, where building 2^n from exponent bits would fail.
  constexpr float kLog2E = 1.44269504f;
  constexpr float kLn2High = 0.693359375f;  // Few bits, so that its product with n is exact; the rest of ln 2 follows.
  constexpr float kLn2Low = -2.12194440e-4f;
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the low mantissa bits.
  const float clamped = x > kLowest ? x : kLowest;
  const float shifted = clamped * kLog2E + kRound;
  const float n = shifted - kRound;
  const float r = (clamped - n * kLn2High) - n * kLn2Low;
  float series = r * (1.0f / 720) + 1.0f / 120;
  series = series * r + 1.0f / 24;
  series = series * r + 1.0f / 6;
  series = series * r + 0.5f;
  series = series * r * r + r + 1.0f;
  const float power = std::bit_cast<float>((std::bit_cast<uint32_t>(shifted) + 127) << 23);
  return x > kLowest ? series * power : 0.0f;
}

double SumBlock(std::span<const float> logits, const SoftmaxScale& scale) {
  const float maximum = scale.maximum;
  const float inverse_temperature = scale.inverse_temperature;
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (size_t i = 0; i < logits.size(); ++i) sum += ExpNonPositive((logits[i] - maximum) * inverse_temperature);
  return sum;
}

}  // namespace

RowMaximum FindMaximum(std::span<const float> logits, std::vector<float>& block_maxima) {
  block_maxima.clear();
  for (size_t begin = 0; begin < logits.size(); begin += kLogitBlock) {
    block_maxima.push_back(BlockMaximum(BlockAt(logits, begin)));
  }
  const auto block = std::max_element(block_maxima.begin(), block_maxima.end());
  const auto from = logits.begin() + (block - block_maxima.begin()) * kLogitBlock;
  return {*block, static_cast<int>(std::find(from, logits.end(), *block) - logits.begin())};
}

bool AllFinite(std::span<const float> logits) {
  constexpr uint32_t kExponent = 0x7f800000;
  uint32_t not_finite = 0;
  for (float logit : logits) not_finite |= (std::bit_cast<uint32_t>(logit) & kExponent) == kExponent;
  return not_finite == 0;
}

float Weight(float logit, const SoftmaxScale& scale) {
  return ExpNonPositive((logit - scale.maximum) * scale.inverse_temperature);
}

double SumWeights(std::span<const float> logits, const SoftmaxScale& scale, std::vector<double>& block_sums) {
  block_sums.clear();
  double total = 0;
  for (size_t begin = 0; begin < logits.size(); begin += kLogitBlock) {
    block_sums.push_back(SumBlock(BlockAt(logits, begin), scale));
    total += block_sums.back();
  }
  return total;
}

}  // namespace quire
