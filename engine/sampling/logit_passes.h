// Whole-row passes over logits, written so that the compiler vectorises them. Sums are taken in an order fixed when
// they are compiled: the same row gives the same bits.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace quire {

// Passes report on each block of this many logits (the last may be shorter), so that later ones can skip blocks.
inline constexpr size_t kLogitBlock = 256;

struct RowMaximum {
  float value = 0;
  int index = 0;  // The lowest where several are equal.
};

// block_maxima receives the maximum of each block. REQUIRES: logits is not empty and holds no NaN.
RowMaximum FindMaximum(std::span<const float> logits, std::vector<float>& block_maxima);

// Whether no logit is NaN or infinite.
bool AllFinite(std::span<const float> logits);

// Softmax without its denominator: the weight of a logit is exp((logit - maximum) * inverse_temperature), in [0, 1],
// with a relative error of at most 3e-7; 0 below exp(-87), and for -infinity.
struct SoftmaxScale {
  float maximum = 0;
  float inverse_temperature = 1;  // Finite.
};

float Weight(float logit, const SoftmaxScale& scale);

// Sum of all weights. block_sums receives the sum of each block.
double SumWeights(std::span<const float> logits, const SoftmaxScale& scale, std::vector<double>& block_sums);

}  // namespace quire
