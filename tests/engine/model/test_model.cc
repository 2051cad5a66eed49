#include "tests/engine/model/test_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <utility>

#include "engine/loader/gguf_checkpoint.h"
#include "engine/model/model_registry.h"
#include "engine/model/weight_loader.h"
#include "tests/fakes/sequence_batch.h"
#include "tests/fakes/tiny_model.h"

namespace quire {

std::vector<TokenId> RandomTokens(int count, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<TokenId> tokens(count);
  for (TokenId& token : tokens) token = static_cast<TokenId>(random() % kTinyVocabSize);
  return tokens;
}

TestModel::TestModel(const GgufWriter& writer, std::unique_ptr<Ops> ops, KvDType kv_dtype, int page_size, bool qk_norm,
                     WeightPrecision precision)
    : image_(writer.Write().bytes), page_size_(page_size), ops_(std::move(ops)) {
  checkpoint_ = GgufCheckpoint::Parse(std::as_bytes(std::span(image_)), nullptr).value();
  const ModelArchitecture* architecture = FindArchitecture("llama").value();
  config_ = architecture->read_config(*checkpoint_).value();
  EXPECT_TRUE(Validate(config_).ok());
  TensorNames names = architecture->tensor_names;
  if (qk_norm) {
    names.query_norm = "attn_q_norm.weight";
    names.key_norm = "attn_k_norm.weight";
  }
  weights_ = LoadWeights(*checkpoint_, config_, names, *ops_, precision, nullptr).value();
  const KvLayout layout = {.num_layers = config_.num_layers,
                           .num_heads = config_.num_heads,
                           .num_kv_heads = config_.num_kv_heads,
                           .head_dim = config_.head_dim,
                           .page_size = page_size,
                           .num_pages = 64,
                           .key_dtype = kv_dtype,
                           .value_dtype = kv_dtype};
  kv_cache_ = ops_->AllocateKvCache(layout).value();
  decoder_ = Decoder::Make(config_, weights_, *ops_, *kv_cache_, kMaxTestTokens).value();
}

Logits TestModel::Run(const Batch& batch) {
  decoder_->Forward(batch);
  Logits result;
  for (int32_t begin = 0; begin < batch.num_tokens(); begin += Decoder::kMaxLogitRows) {
    std::vector<int32_t> rows(std::min(Decoder::kMaxLogitRows, batch.num_tokens() - begin));
    for (size_t i = 0; i < rows.size(); ++i) rows[i] = begin + static_cast<int32_t>(i);
    const MatrixView<const float> logits = ops_->ToHost(decoder_->Logits(rows));
    EXPECT_TRUE(ops_->Synchronize().ok());
    for (int64_t i = 0; i < logits.rows; ++i) result.emplace_back(logits.Row(i), logits.Row(i) + logits.cols);
  }
  return result;
}

Logits TestModel::RunSequence(std::span<const TokenId> tokens, int chunk, int first_page) {
  Logits result;
  for (int done = 0; done < static_cast<int>(tokens.size()); done += chunk) {
    Batch batch;
    AddSequence(tokens, done, std::min(chunk, static_cast<int>(tokens.size()) - done), first_page, page_size_, batch);
    const Logits logits = Run(batch);
    result.insert(result.end(), logits.begin(), logits.end());
  }
  return result;
}

double Deviation(const Logits& logits) {
  double sum = 0;
  for (const auto& row : logits) {
    for (const float value : row) sum += double{value} * value;
  }
  return std::sqrt(sum / static_cast<double>(logits.size() * logits[0].size()));
}

}  // namespace quire
