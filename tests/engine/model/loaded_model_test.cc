#include "engine/model/loaded_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "tests/fakes/tiny_model.h"
#include "tests/reference/reference_ops.h"

namespace quire {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

absl::StatusOr<LoadedModel> LoadImage(const std::string& image) {
  ReferenceOps ops;
  return LoadModel(WriteTestFile("tiny.gguf", image), ops, nullptr);
}

// Loads a tiny model after a change; the error that this gives.
std::string ErrorAfter(const std::function<void(GgufWriter&)>& change) {
  GgufWriter writer = TinyModel();
  change(writer);
  const auto model = LoadImage(writer.Write().bytes);
  EXPECT_EQ(model.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(model.status().message());
}

TEST(LoadModel, GivesEverythingThatTheFileHolds) {
  ReferenceOps ops;
  std::vector<float> progress;
  const auto model =
      LoadModel(WriteTinyModel({.num_layers = 3}), ops, [&](float fraction) { progress.push_back(fraction); });
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->name, "tiny");
  EXPECT_EQ(model->config.vocab_size, kTinyVocabSize);
  EXPECT_EQ(model->config.num_layers, 3);
  EXPECT_EQ(model->config.num_kv_heads, 2);
  EXPECT_EQ(model->config.context_length, 256);
  EXPECT_EQ(model->config.inverse_frequencies.size(), 8u);
  EXPECT_EQ(model->weights.layers.size(), 3u);
  EXPECT_EQ(model->weights.output_head, model->weights.embedding);
  EXPECT_THAT(model->tokenizer->Encode("hello", {}).value(), ElementsAre(256, 257, 'o'));
  EXPECT_EQ(model->tokenizer->eos(), kTinyVocabSize - 1);
  EXPECT_THAT(model->tokenizer->end_tokens(), ::testing::Contains(kTinyVocabSize - 1));
  ASSERT_NE(model->chat_template, nullptr) << model->chat_template_error;
  EXPECT_EQ(model->chat_template->Render({.messages = Json::array({TextMessage("user", "hi")})}).value(),
            "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n");
  ASSERT_FALSE(progress.empty());
  EXPECT_TRUE(std::is_sorted(progress.begin(), progress.end()));
  EXPECT_EQ(progress.back(), 1);
}

// Notes what is packed in which precision.
class NotingOps : public ReferenceOps {
 public:
  absl::StatusOr<std::unique_ptr<PackedMatrix>> Pack(std::span<const RawMatrix> parts,
                                                     WeightPrecision precision) override {
    packed.emplace_back(parts[0].rows, precision);
    return ReferenceOps::Pack(parts, precision);
  }

  std::vector<std::pair<int64_t, WeightPrecision>> packed;  // Rows of the first part.
};

TEST(LoadModel, RoundsTheMatricesOfLayersAndNoOthers) {
  for (const WeightPrecision precision : {WeightPrecision::kAsStored, WeightPrecision::kFloat8}) {
    NotingOps ops;
    const auto model = LoadModel(WriteTinyModel({.num_layers = 3, .tied_embeddings = false}), ops, nullptr, precision);
    ASSERT_TRUE(model.ok()) << model.status();
    EXPECT_EQ(model->precision, precision);
    ASSERT_EQ(ops.packed.size(), 2u + 3 * 4);
    for (const auto& [rows, packed_in] : ops.packed) {
      EXPECT_EQ(packed_in, rows == kTinyVocabSize ? WeightPrecision::kAsStored : precision) << rows;
    }
  }
}

TEST(LoadModel, CompletesTextWithoutAUsableChatTemplate) {
  GgufWriter writer = TinyModel();
  writer.SetString("tokenizer.chat_template", "{% for %}");
  const auto broken = LoadImage(writer.Write().bytes);
  ASSERT_TRUE(broken.ok()) << broken.status();
  EXPECT_EQ(broken->chat_template, nullptr);
  EXPECT_FALSE(broken->chat_template_error.empty());
  writer.Remove("tokenizer.chat_template");
  const auto without = LoadImage(writer.Write().bytes);
  ASSERT_TRUE(without.ok()) << without.status();
  EXPECT_EQ(without->chat_template_error, "the model file has no chat template");
}

TEST(LoadModel, TellsModelsApartByFingerprint) {
  std::set<uint64_t> seen;
  const auto is_new = [&](const TinyModelOptions& options) {
    return seen.insert(LoadImage(TinyModel(options).Write().bytes)->fingerprint).second;
  };
  EXPECT_TRUE(is_new({}));
  EXPECT_FALSE(is_new({}));
  EXPECT_TRUE(is_new({.seed = 2}));
  EXPECT_TRUE(is_new({.num_layers = 3}));
}

TEST(LoadModel, NamesTheFileInEveryError) {
  ReferenceOps ops;
  const auto missing = LoadModel("/nowhere/model.gguf", ops, nullptr);
  EXPECT_EQ(missing.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(missing.status().message()), StartsWith("/nowhere/model.gguf: cannot open"));
  EXPECT_THAT(ErrorAfter([](GgufWriter& w) { w.Remove("general.architecture"); }), HasSubstr("tiny.gguf: there is no"));
}

TEST(LoadModel, SaysWhatIsWrongWithTheMetadata) {
  const auto error_with = [](const char* key, uint32_t value) {
    return ErrorAfter([&](GgufWriter& writer) { writer.SetUint32(key, value); });
  };
  EXPECT_THAT(ErrorAfter([](GgufWriter& w) { w.SetString("general.architecture", "mamba\n"); }),
              HasSubstr("architecture 'mamba\\n' is not supported; those that are: llama"));
  EXPECT_THAT(ErrorAfter([](GgufWriter& w) { w.Remove("llama.block_count"); }),
              HasSubstr("there is no metadata 'llama.block_count'"));
  EXPECT_THAT(ErrorAfter([](GgufWriter& w) { w.SetString("llama.block_count", "two"); }),
              HasSubstr("metadata 'llama.block_count' must be an integer, got string"));
  EXPECT_THAT(error_with("llama.block_count", 0), HasSubstr("num_layers must be 1 to"));
  EXPECT_THAT(error_with("llama.block_count", 3), HasSubstr("there is no tensor 'blk.2."));
  EXPECT_THAT(error_with("llama.block_count", 1), HasSubstr("tensor 'blk.1."));
  EXPECT_THAT(error_with("llama.block_count", 0xffffffff), HasSubstr("metadata 'llama.block_count' is out of range"));
  EXPECT_THAT(error_with("llama.embedding_length", 63),
              HasSubstr("tensor 'token_embd.weight' must have 261 rows of 63"));
  EXPECT_THAT(error_with("llama.attention.head_count", 0), HasSubstr("must be positive"));
  EXPECT_THAT(error_with("llama.attention.head_count", 5), HasSubstr("num_kv_heads must divide num_heads"));
  EXPECT_THAT(error_with("llama.attention.head_count_kv", 0), HasSubstr("num_kv_heads must be 1 to 4, got 0"));
  EXPECT_THAT(error_with("llama.attention.head_count_kv", 1),
              HasSubstr("tensor 'blk.0.attn_k.weight' must have 16 rows"));
  EXPECT_THAT(error_with("llama.attention.value_length", 8), HasSubstr("different length"));
  EXPECT_THAT(error_with("llama.rope.dimension_count", 15),
              HasSubstr("an even number of dimensions, 2 to 1024, got 15"));
  EXPECT_THAT(error_with("llama.rope.dimension_count", 1 << 30), HasSubstr("2 to 1024, got 1073741824"));
  EXPECT_THAT(error_with("llama.rope.dimension_count", 32), HasSubstr("at most head_dim / 2 = 8 pairs, got 16"));
  EXPECT_THAT(error_with("llama.vocab_size", 7), HasSubstr("'llama.vocab_size' is 7, but the embedding has 261 rows"));
  EXPECT_THAT(error_with("llama.expert_count", 8), HasSubstr("mixtures of experts"));
  EXPECT_THAT(error_with("llama.context_length", 0), HasSubstr("context_length must be 1 to"));
  EXPECT_THAT(ErrorAfter([](GgufWriter& w) { w.SetString("llama.rope.scaling.type", "yarn"); }),
              HasSubstr("must be 'none' or 'linear', got 'yarn'"));
  EXPECT_THAT(ErrorAfter([](GgufWriter& w) { w.SetFloat32("llama.attention.layer_norm_rms_epsilon", 0); }),
              HasSubstr("norm_epsilon must be in (0, 1), got 0"));
}

TEST(LoadModel, RefusesHeadsThatTheKernelsCannotTake) {
  const auto error = [](uint32_t head_dim) {
    return ErrorAfter([&](GgufWriter& writer) {
      writer.SetUint32("llama.attention.key_length", head_dim);
      writer.SetUint32("llama.attention.value_length", head_dim);
    });
  };
  EXPECT_THAT(error(8), HasSubstr("head_dim must be a multiple of 16, got 8"));
  EXPECT_THAT(error(17), HasSubstr("an even number of dimensions"));
  EXPECT_THAT(error(1 << 30), HasSubstr("2 to 1024, got 1073741824"));
  EXPECT_THAT(ErrorAfter([](GgufWriter& w) {
                w.Remove("llama.attention.key_length");
                w.SetUint32("llama.attention.head_count", 3);
              }),
              HasSubstr("'llama.attention.head_count' must divide the 64"));
}

TEST(LoadModel, SaysWhatIsWrongWithTheTensors) {
  EXPECT_THAT(ErrorAfter([](GgufWriter& w) { w.RemoveTensor("blk.1.ffn_up.weight"); }),
              HasSubstr("there is no tensor 'blk.1.ffn_up.weight'"));
  EXPECT_THAT(ErrorAfter([](GgufWriter& w) { w.RemoveTensor("token_embd.weight"); }),
              HasSubstr("there is no tensor 'token_embd.weight'"));
  EXPECT_THAT(ErrorAfter([](GgufWriter& w) { w.AddTensor("blk.0.ffn_gate.bias", {1}, 0, std::string(4, 0)); }),
              HasSubstr("tensor 'blk.0.ffn_gate.bias' is not a part of this architecture"));
  EXPECT_THAT(ErrorAfter([](GgufWriter& w) { w.AddTensor("blk.0.attn_q.bias", {64}, 0, std::string(256, 0)); }),
              HasSubstr("there is no tensor 'blk.0.attn_k.bias'"));
  EXPECT_THAT(ErrorAfter([](GgufWriter& w) {
                w.RemoveTensor("output_norm.weight");
                w.AddTensor("output_norm.weight", {63}, 0, std::string(252, 0));
              }),
              HasSubstr("tensor 'output_norm.weight' must have 1 rows of 64, got 1 rows of 63"));
}

TEST(LoadModel, RefusesAVocabularyThatDoesNotFit) {
  EXPECT_THAT(ErrorAfter([](GgufWriter& w) {
                w.SetStrings("tokenizer.ggml.tokens", {"a", "b"});
              }),
              HasSubstr("'tokenizer.ggml.tokens' must be as long as the embedding's 261 rows, got 2"));
  EXPECT_THAT(ErrorAfter([](GgufWriter& w) {
                w.SetInt32s("tokenizer.ggml.token_type", {1, 7});
              }),
              HasSubstr("holds 7 for token 1"));
  EXPECT_THAT(ErrorAfter([](GgufWriter& w) { w.Remove("tokenizer.ggml.tokens"); }),
              HasSubstr("there is no metadata 'tokenizer.ggml.tokens'"));
  ErrorAfter([](GgufWriter& w) { w.SetInt32s("tokenizer.ggml.token_type", {1, 1}); });
  ErrorAfter([](GgufWriter& w) { w.SetUint32("tokenizer.ggml.eos_token_id", kTinyVocabSize); });
  ErrorAfter([](GgufWriter& w) { w.SetString("tokenizer.ggml.model", "bert"); });
}

TEST(LoadModel, SurvivesEveryNumberOfTheHeaderBeingReplaced) {
  const GgufImage image = TinyModel({.num_layers = 1}).Write();
  for (const GgufField& field : image.fields) {
    // There are many of these, and the loader's own tests replace lengths of strings.
    if (field.name == "tokenizer.ggml.tokens.length") continue;
    for (const uint64_t value : {uint64_t{0}, uint64_t{1}, uint64_t{17}, uint64_t{1} << 31, ~uint64_t{0}}) {
      SCOPED_TRACE(field.name + " = " + std::to_string(value));
      const auto model = LoadImage(image.With(field, value));
      if (model.ok()) continue;
      EXPECT_EQ(model.status().code(), absl::StatusCode::kInvalidArgument) << model.status();
    }
  }
}

TEST(LoadModel, SpendsNoMemoryOnWhatMetadataOnlyClaims) {
  const GgufImage image = TinyModel().Write();
  (void)LoadImage(image.bytes);
  rusage before;
  getrusage(RUSAGE_SELF, &before);
  for (const char* key : {"block_count", "context_length", "embedding_length", "feed_forward_length", "vocab_size",
                          "attention.head_count", "attention.head_count_kv", "attention.key_length"}) {
    for (const int bits : {12, 24, 30}) {
      (void)LoadImage(image.With("llama." + std::string(key) + ".value", uint64_t{1} << bits));
    }
  }
  rusage after;
  getrusage(RUSAGE_SELF, &after);
  EXPECT_LT(after.ru_maxrss - before.ru_maxrss, 64 << 10);  // KiB
}

}  // namespace
}  // namespace quire
