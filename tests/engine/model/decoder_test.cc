#include "engine/model/decoder.h"

#include <gtest/gtest.h>

#include "tests/engine/model/naive_decoder.h"
#include "tests/engine/model/test_model.h"
#include "tests/fakes/sequence_batch.h"
#include "tests/fakes/tiny_model.h"
#include "tests/reference/reference_ops.h"

namespace quire {
namespace {

TestModel ReferenceModel(const GgufWriter& writer, bool qk_norm = false) {
  return TestModel(writer, std::make_unique<ReferenceOps>(), KvDType::kF32, 16, qk_norm);
}

TestModel CpuModel(const GgufWriter& writer, int page_size = 16) {
  return TestModel(writer, MakeCpuOps({}).value(), KvDType::kBF16, page_size);
}

NaiveModel NaiveOf(const TinyModelOptions& options) {
  return {options.num_layers, options.num_heads, options.num_kv_heads, options.head_dim, 1000};
}

void ExpectAgreesWithNaive(TestModel model, const NaiveModel& naive) {
  const std::vector<TokenId> tokens = RandomTokens(21, 1);
  const auto expected = NaiveLogits(model.checkpoint(), naive, tokens);
  for (const int chunk : {21, 1, 8}) {
    const Logits logits = model.RunSequence(tokens, chunk);
    ASSERT_EQ(logits.size(), expected.size());
    for (size_t t = 0; t < tokens.size(); ++t) {
      for (int v = 0; v < kTinyVocabSize; ++v) ASSERT_NEAR(logits[t][v], expected[t][v], 2e-4) << t << " " << v;
    }
  }
}

void ExpectAgreesWithNaive(const TinyModelOptions& options) {
  ExpectAgreesWithNaive(ReferenceModel(TinyModel(options), options.qk_norm), NaiveOf(options));
}

TEST(Decoder, ComputesWhatThePapersSay) { ExpectAgreesWithNaive(TinyModelOptions{}); }

TEST(Decoder, ComputesEveryGroupingOfHeads) {
  for (const int num_kv_heads : {1, 2, 4}) {
    SCOPED_TRACE(num_kv_heads);
    ExpectAgreesWithNaive({.num_kv_heads = num_kv_heads, .head_dim = 32});
  }
}

TEST(Decoder, AddsBiases) { ExpectAgreesWithNaive({.biases = true}); }

TEST(Decoder, NormalisesQueriesAndKeys) { ExpectAgreesWithNaive({.qk_norm = true}); }

TEST(Decoder, UsesAnOutputHeadOfItsOwn) { ExpectAgreesWithNaive({.tied_embeddings = false}); }

TEST(Decoder, DividesFrequenciesByTheFilesFactors) { ExpectAgreesWithNaive({.rope_factors = true}); }

TEST(Decoder, InterpolatesPositionsLinearly) {
  GgufWriter writer = TinyModel();
  writer.SetString("llama.rope.scaling.type", "linear");
  writer.SetFloat32("llama.rope.scaling.factor", 4);
  NaiveModel naive = NaiveOf({});
  naive.rope_linear_factor = 4;
  ExpectAgreesWithNaive(ReferenceModel(writer), naive);
}

TEST(Decoder, SeesNoFurtherThanItsWindow) {
  GgufWriter writer = TinyModel();
  writer.SetUint32("llama.attention.sliding_window", 5);
  NaiveModel naive = NaiveOf({});
  naive.sliding_window = 5;
  ExpectAgreesWithNaive(ReferenceModel(writer), naive);
}

TEST(Decoder, AgreesOnTheCpuWithTheReferenceForEveryFormat) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0, DType::kQ4_0, DType::kQ4_1,
                            DType::kQ5_0, DType::kQ5_1, DType::kQ4_K, DType::kQ5_K, DType::kQ6_K}) {
    SCOPED_TRACE(std::string(TraitsOf(dtype).name));
    const GgufWriter writer =
        TinyModel({.dtype = dtype, .hidden_size = 256, .intermediate_size = 256, .num_heads = 16});
    const std::vector<TokenId> tokens = RandomTokens(33, 2);
    const Logits expected = ReferenceModel(writer).RunSequence(tokens, 33);
    Logits difference = CpuModel(writer).RunSequence(tokens, 33);
    for (size_t t = 0; t < tokens.size(); ++t) {
      for (int v = 0; v < kTinyVocabSize; ++v) difference[t][v] -= expected[t][v];
    }
    // Activations of 8 bits leave about one part in a hundred of noise.
    EXPECT_LT(Deviation(difference), 0.04 * Deviation(expected));
  }
}

TEST(Decoder, GivesATokenTheSameBitsHoweverItsPromptIsCut) {
  for (const DType dtype : {DType::kQ4_1, DType::kF16}) {
    const GgufWriter writer = TinyModel({.dtype = dtype});
    const std::vector<TokenId> tokens = RandomTokens(70, 3);
    TestModel model = CpuModel(writer);
    const Logits whole = model.RunSequence(tokens, 70);
    for (const int chunk : {1, 3, 16, 33}) EXPECT_EQ(model.RunSequence(tokens, chunk), whole) << chunk;
    EXPECT_EQ(CpuModel(writer, 32).RunSequence(tokens, 29), whole);
  }
}

TEST(Decoder, GivesATokenTheSameBitsWhoeverSharesItsStep) {
  TestModel model = CpuModel(TinyModel({.dtype = DType::kQ4_1}));
  const std::vector<TokenId> first = RandomTokens(40, 4);
  const std::vector<TokenId> second = RandomTokens(23, 5);
  const Logits first_alone = model.RunSequence(first, 40, 0);
  const Logits second_alone = model.RunSequence(second, 23, 10);
  // The second sequence's prompt joins a decode of the first.
  Batch batch;
  AddSequence(first, 39, 1, 0, 16, batch);
  AddSequence(second, 0, 23, 20, 16, batch);
  const Logits together = model.Run(batch);
  EXPECT_EQ(together[0], first_alone[39]);
  EXPECT_EQ(Logits(together.begin() + 1, together.end()), second_alone);
}

}  // namespace
}  // namespace quire
