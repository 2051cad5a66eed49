// A model in memory, packed by some Ops, and a cache for it: what tests of forward passes have in common.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/loader/checkpoint.h"
#include "engine/model/decoder.h"
#include "tests/fakes/gguf_writer.h"

namespace quire {

using Logits = std::vector<std::vector<float>>;  // [T][vocab]

inline constexpr int kMaxTestTokens = 100;

// Of the tiny model's vocabulary.
std::vector<TokenId> RandomTokens(int count, uint32_t seed);

class TestModel {
 public:
  TestModel(const GgufWriter& writer, std::unique_ptr<Ops> ops, KvDType kv_dtype, int page_size = 16,
            bool qk_norm = false, WeightPrecision precision = WeightPrecision::kAsStored);

  // Of all the batch's tokens.
  Logits Run(const Batch& batch);
  // The whole sequence, `chunk` tokens a step.
  Logits RunSequence(std::span<const TokenId> tokens, int chunk, int first_page = 0);

  const Checkpoint& checkpoint() const { return *checkpoint_; }

 private:
  const std::string image_;
  const int page_size_;
  std::unique_ptr<Ops> ops_;
  std::unique_ptr<Checkpoint> checkpoint_;
  ModelConfig config_;
  Weights weights_;
  std::unique_ptr<KvCache> kv_cache_;
  std::unique_ptr<Decoder> decoder_;
};

// The root of the mean square.
double Deviation(const Logits& logits);

}  // namespace quire
