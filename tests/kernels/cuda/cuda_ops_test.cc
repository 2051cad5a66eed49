// The whole backend under a decoder, on the emulated device.
#include "kernels/cuda/cuda_ops.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "engine/model/loaded_model.h"
#include "engine/runner/local_model_runner.h"
#include "tests/cuda_shim/control.h"
#include "tests/engine/model/test_model.h"
#include "tests/fakes/sequence_batch.h"
#include "tests/fakes/tiny_model.h"
#include "tests/kernels/cuda/test_ops.h"
#include "tests/kernels/random_weights.h"
#include "tests/reference/reference_ops.h"

namespace quire {
namespace {

using ::testing::HasSubstr;

class CudaOpsTest : public testing::Test {
 protected:
  CudaOpsTest() { cuda_shim::Reset(); }
  ~CudaOpsTest() override { cuda_shim::Reset(); }
};

TestModel CudaModel(const GgufWriter& writer, int page_size = 16, KvDType kv_dtype = KvDType::kBF16,
                    WeightPrecision precision = WeightPrecision::kAsStored) {
  return TestModel(writer, MakeTestOps(), kv_dtype, page_size, /*qk_norm=*/false, precision);
}

// How far apart they are, in units of how large the second are.
double Distance(Logits logits, const Logits& expected) {
  for (size_t t = 0; t < expected.size(); ++t) {
    for (int v = 0; v < kTinyVocabSize; ++v) logits[t][v] -= expected[t][v];
  }
  return Deviation(logits) / Deviation(expected);
}

TEST_F(CudaOpsTest, AgreesWithTheReferenceForEveryFormat) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0, DType::kQ4_0, DType::kQ4_1,
                            DType::kQ5_0, DType::kQ5_1, DType::kQ4_K, DType::kQ5_K, DType::kQ6_K}) {
    SCOPED_TRACE(std::string(TraitsOf(dtype).name));
    const GgufWriter writer =
        TinyModel({.dtype = dtype, .hidden_size = 256, .intermediate_size = 256, .num_heads = 16, .biases = true});
    const std::vector<TokenId> tokens = RandomTokens(21, 2);
    const Logits expected = TestModel(writer, std::make_unique<ReferenceOps>(), KvDType::kF32).RunSequence(tokens, 21);
    // Products of values rounded to bfloat16 leave about one part in 200.
    EXPECT_LT(Distance(CudaModel(writer).RunSequence(tokens, 21), expected), 0.02);
  }
}

TEST_F(CudaOpsTest, AgreesWithTheReferenceInFloat8) {
  for (const DType dtype : {DType::kBF16, DType::kQ4_K}) {
    for (const bool tied : {false, true}) {
      SCOPED_TRACE(testing::Message() << TraitsOf(dtype).name << (tied ? ", tied" : ""));
      const GgufWriter writer = TinyModel({.dtype = dtype,
                                           .hidden_size = 256,
                                           .intermediate_size = 512,
                                           .num_heads = 16,
                                           .tied_embeddings = tied,
                                           .biases = true});
      const std::vector<TokenId> tokens = RandomTokens(21, 2);
      const auto reference = [&](WeightPrecision precision) {
        TestModel model(writer, std::make_unique<ReferenceOps>(), KvDType::kBF16, 16, /*qk_norm=*/false, precision);
        return model.RunSequence(tokens, 21);
      };
      const Logits expected = reference(WeightPrecision::kFloat8);
      const Logits actual = CudaModel(writer, 16, KvDType::kBF16, WeightPrecision::kFloat8).RunSequence(tokens, 21);
      // A number between two codes becomes one or the other for the least that differs before it is rounded: two such
      // computations are about half as far apart as one of them is from what is not rounded.
      EXPECT_LT(Distance(actual, expected), 0.7 * Distance(expected, reference(WeightPrecision::kAsStored)));
    }
  }
}

TEST_F(CudaOpsTest, GivesATokenTheSameBitsHoweverItsPromptIsCut) {
  cuda_shim::SetDeferred(true);  // Nothing is done before somebody waits for it.
  const GgufWriter writer = TinyModel({.dtype = DType::kQ4_1});
  const std::vector<TokenId> tokens = RandomTokens(70, 3);
  for (const KvDType kv_dtype : {KvDType::kBF16, KvDType::kInt8, KvDType::kFp8}) {
    TestModel model = CudaModel(writer, 16, kv_dtype);
    const Logits whole = model.RunSequence(tokens, 70);
    for (const int chunk : {1, 3, 33}) EXPECT_EQ(model.RunSequence(tokens, chunk), whole) << chunk;
    EXPECT_EQ(CudaModel(writer, 32, kv_dtype).RunSequence(tokens, 29), whole);
  }
}

TEST_F(CudaOpsTest, GivesATokenTheSameBitsHoweverItsPromptIsCutInFloat8) {
  const GgufWriter writer = TinyModel({.dtype = DType::kQ4_1});
  const std::vector<TokenId> tokens = RandomTokens(70, 3);
  TestModel model = CudaModel(writer, 16, KvDType::kBF16, WeightPrecision::kFloat8);
  const Logits whole = model.RunSequence(tokens, 70);
  for (const int chunk : {1, 3, 33}) EXPECT_EQ(model.RunSequence(tokens, chunk), whole) << chunk;
}

TEST_F(CudaOpsTest, GivesATokenTheSameBitsWhoeverSharesItsStep) {
  TestModel model = CudaModel(TinyModel({.dtype = DType::kQ4_1}));
  const std::vector<TokenId> first = RandomTokens(40, 4);
  const std::vector<TokenId> second = RandomTokens(23, 5);
  const Logits first_alone = model.RunSequence(first, 40, 0);
  const Logits second_alone = model.RunSequence(second, 23, 10);
  Batch batch;
  AddSequence(first, 39, 1, 0, 16, batch);
  AddSequence(second, 0, 23, 20, 16, batch);
  const Logits together = model.Run(batch);
  EXPECT_EQ(together[0], first_alone[39]);
  EXPECT_EQ(Logits(together.begin() + 1, together.end()), second_alone);
}

TEST_F(CudaOpsTest, PacksInThePrecisionThatItIsTold) {
  const auto ops = MakeTestOps();
  std::mt19937 random(20261128);
  const RandomWeights weights(DType::kBF16, 64, 256, random);
  const RawMatrix part = weights.raw();
  const std::pair<WeightPrecision, int64_t> cases[] = {{WeightPrecision::kAsStored, 64 * 256 * 2},
                                                       {WeightPrecision::kFloat8, 64 * (256 + 4)}};
  for (const auto& [precision, bytes] : cases) {
    EXPECT_TRUE(ops->can_pack(precision));
    EXPECT_EQ(ops->Pack({&part, 1}, precision).value()->bytes(), bytes);
    EXPECT_EQ(ops->PackGated(part, part, precision).value()->bytes(), 2 * bytes);
  }
}

TEST_F(CudaOpsTest, SaysWhatToLowerWhenTheDevicesMemoryIsTooSmall) {
  if (!cuda_shim::IsEmulated()) GTEST_SKIP() << "only the emulated device has as little memory as one likes";
  cuda_shim::SetDeviceMemory(1 << 20);
  const auto ops = MakeTestOps();
  EXPECT_LE(ops->FreeDeviceMemory(), 1 << 20);
  const auto cache =
      ops->AllocateKvCache({.num_layers = 4, .num_kv_heads = 2, .head_dim = 64, .page_size = 16, .num_pages = 1024});
  EXPECT_TRUE(absl::IsResourceExhausted(cache.status()));
  EXPECT_THAT(std::string(cache.status().message()), HasSubstr("lower --kv-cache-memory"));
}

TEST_F(CudaOpsTest, RefusesCachesThatItCannotRead) {
  const auto ops = MakeTestOps();
  const KvLayout fine = {
      .num_layers = 1, .num_heads = 32, .num_kv_heads = 2, .head_dim = 64, .page_size = 16, .num_pages = 2};
  EXPECT_TRUE(ops->AllocateKvCache(fine).ok());
  KvLayout layout = fine;
  layout.value_dtype = KvDType::kInt4;
  EXPECT_TRUE(absl::IsInvalidArgument(ops->AllocateKvCache(layout).status()));
  layout = fine;
  layout.num_heads = 34;
  EXPECT_TRUE(absl::IsInvalidArgument(ops->AllocateKvCache(layout).status()));
  layout = fine;
  layout.head_dim = 272;
  EXPECT_TRUE(absl::IsInvalidArgument(ops->AllocateKvCache(layout).status()));
}

// A runner over the tiny model, one sequence of some tokens, and rows that want something of its last one.
class CudaRunnerTest : public CudaOpsTest {
 protected:
  explicit CudaRunnerTest()
      : ops_(MakeTestOps()),
        model_(LoadModel(WriteTinyModel(), *ops_, nullptr).value()),
        kv_cache_(ops_->AllocateKvCache({.num_layers = model_.config.num_layers,
                                         .num_kv_heads = model_.config.num_kv_heads,
                                         .head_dim = model_.config.head_dim,
                                         .page_size = 16,
                                         .num_pages = 16})
                      .value()),
        runner_(LocalModelRunner::Make(model_, *ops_, *kv_cache_, 200).value()) {}

  LogitRow RowFor(const SamplingParams& params, uint64_t seed = 0) const {
    return {.row = static_cast<int32_t>(tokens_.size()) - 1,
            .params = &params,
            .seed = seed,
            .position = static_cast<int>(tokens_.size()),
            .tokens = tokens_,
            .num_prompt_tokens = static_cast<int>(tokens_.size())};
  }
  absl::StatusOr<std::span<const SampledToken>> Run(std::vector<LogitRow> rows) {
    batch_ = Batch();
    AddSequence(tokens_, 0, static_cast<int>(tokens_.size()), 0, 16, batch_);
    batch_.logit_rows = std::move(rows);
    runner_->Launch(batch_, /*gives_way=*/nullptr);
    return runner_->Await();
  }

  const std::vector<TokenId> tokens_ = RandomTokens(20, 6);
  std::unique_ptr<Ops> ops_;
  LoadedModel model_;
  std::unique_ptr<KvCache> kv_cache_;
  std::unique_ptr<LocalModelRunner> runner_;
  Batch batch_;
};

// Who asks for alternatives is answered by the host, all others by the device: from the same logits, the same draws.
TEST_F(CudaRunnerTest, ChoosesOnTheDeviceWhatTheHostChooses) {
  std::vector<SamplingParams> params;
  for (const float temperature : {0.0f, 0.7f, 1.5f}) {
    for (const int logprobs : {-1, 0, 3}) {
      params.push_back({.temperature = temperature, .top_p = 0.9f, .top_k = 40, .logprobs = logprobs});
      params.push_back({.temperature = temperature, .repetition_penalty = 1.3f, .logprobs = logprobs});
    }
  }
  std::vector<LogitRow> rows;
  for (const SamplingParams& p : params) rows.push_back(RowFor(p, 7));
  const auto sampled = Run(rows);
  ASSERT_TRUE(sampled.ok()) << sampled.status();
  for (size_t i = 0; i < rows.size(); i += 6) {
    for (size_t kind = 0; kind < 2; ++kind) {
      const SampledToken& by_host = (*sampled)[i + 4 + kind];
      EXPECT_TRUE(by_host.status.ok()) << by_host.status;
      EXPECT_EQ(by_host.top.size(), 3u);
      EXPECT_EQ((*sampled)[i + kind].token, by_host.token);
      EXPECT_EQ((*sampled)[i + 2 + kind].token, by_host.token);
      EXPECT_NEAR((*sampled)[i + 2 + kind].logprob, by_host.logprob, 1e-5);
    }
  }
}

// More rows than logits are kept of at a time, chosen by the device in one go; some by the host in between.
TEST_F(CudaRunnerTest, WaitsOncePerStepUnlessTheHostChooses) {
  cuda_shim::SetDeferred(true);
  const SamplingParams by_device = {.temperature = 0}, by_host = {.temperature = 0, .logprobs = 1};
  const std::vector<TokenId> tokens = RandomTokens(170, 8);
  const auto run = [&](const auto& params_of) {
    Batch batch;
    AddSequence(tokens, 0, 170, 0, 16, batch);
    for (int row = 169; row >= 0; --row) {
      batch.logit_rows.push_back({.row = row, .params = params_of(row), .position = row + 1, .tokens = tokens});
    }
    runner_->Launch(batch, /*gives_way=*/nullptr);
    const auto sampled = runner_->Await();
    EXPECT_TRUE(sampled.ok()) << sampled.status();
    std::vector<TokenId> chosen;
    if (sampled.ok()) std::ranges::transform(*sampled, std::back_inserter(chosen), &SampledToken::token);
    return chosen;
  };
  const std::vector<TokenId> expected = run([&](int) { return &by_host; });
  ASSERT_EQ(expected.size(), 170u);
  EXPECT_EQ(run([&](int row) { return row >= 64 && row < 80 ? &by_host : &by_device; }), expected);
  cuda_shim::FailNext(cuda_shim::Call::kSynchronize, cudaErrorInvalidValue, /*after=*/1);
  EXPECT_EQ(run([&](int) { return &by_device; }), expected);
}

TEST_F(CudaRunnerTest, FailsTheStepWhenTheDeviceIsLostAndEveryLaterOne) {
  if (!cuda_shim::IsEmulated()) GTEST_SKIP() << "only the emulated device can be made to fail";
  const SamplingParams greedy = {.temperature = 0};
  ASSERT_TRUE(Run({RowFor(greedy)}).ok());
  cuda_shim::FailNext(cuda_shim::Call::kExecution, cudaErrorIllegalAddress, /*after=*/5);
  EXPECT_TRUE(absl::IsUnavailable(Run({RowFor(greedy)}).status()));
  EXPECT_TRUE(absl::IsUnavailable(Run({RowFor(greedy)}).status()));
  cuda_shim::Reset();  // A lost device takes no memory back.
}

// Every call of a step may fail once; the step fails with it, and the next one gives the right answer.
TEST_F(CudaRunnerTest, GoesOnAfterAnyCallThatFailedOnce) {
  if (!cuda_shim::IsEmulated()) GTEST_SKIP() << "only the emulated device can be made to fail";
  const SamplingParams greedy = {.temperature = 0};
  const TokenId expected = (*Run({RowFor(greedy)}))[0].token;
  using cuda_shim::Call;
  for (const Call call : {Call::kMalloc, Call::kMallocHost, Call::kCopy, Call::kLaunch}) {
    for (int after = 0; after < 40; after += 3) {
      cuda_shim::FailNext(call, call == Call::kLaunch ? cudaErrorInvalidConfiguration : cudaErrorMemoryAllocation,
                          after);
      const auto failed = Run({RowFor(greedy)});
      const bool met = !failed.ok();
      cuda_shim::Reset();
      const auto sampled = Run({RowFor(greedy)});
      ASSERT_TRUE(sampled.ok()) << sampled.status();
      EXPECT_EQ((*sampled)[0].token, expected);
      if (!met) break;  // There are no more such calls in a step.
    }
  }
}

}  // namespace
}  // namespace quire
