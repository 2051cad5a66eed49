// What tests of the sampling kernels share: runs on the emulated device, the CPU's choice, and requests at random.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "engine/runner/batch.h"
#include "engine/runner/model_runner.h"
#include "kernels/sampling.h"
#include "kernels/tensor_view.h"

namespace quire {

// Normally distributed.
std::vector<float> RandomLogits(size_t size, uint32_t seed, float spread = 3.0f);

// What SampleOnCuda gives; also checks that it gives tokens twice alike.
std::vector<SampledRow> SampleOnDevice(MatrixView<const float> logits, std::span<const SampleRow> rows);
// All rows choose from the same logits.
std::vector<SampledRow> SampleOnDevice(std::span<const float> logits, std::span<const SampleRow> rows);
SampledRow SampleOne(std::span<const float> logits, const SampleRow& row);

inline const std::vector<TokenId>& SampleEndTokens() {
  static const std::vector<TokenId> tokens = {2};
  return tokens;
}

SampledToken SampleOnHost(std::span<const float> logits, const LogitRow& row);

// A request's wishes, kept alive.
struct Wish {
  SamplingParams params;
  std::vector<TokenId> tokens;
  LogitRow row;
};

Wish RandomWish(std::mt19937& random, int vocab_size);

// Rows that refer to the wishes, each with logits of its own or all with the same; what they adjust is kept in
// `adjustments`.
std::vector<SampleRow> RowsOf(std::vector<Wish>& wishes, int vocab_size, bool own_logits,
                              std::vector<std::vector<TokenAdjustment>>& adjustments);

}  // namespace quire
