// The engine over the whole backend: steps that are launched ahead choose the tokens that steps one at a time choose.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "engine/model/loaded_model.h"
#include "engine/runner/local_model_runner.h"
#include "kernels/cuda/cuda_ops.h"
#include "tests/cuda_shim/control.h"
#include "tests/engine/model/test_model.h"
#include "tests/fakes/tiny_model.h"
#include "tests/sanitized.h"

namespace quire {
namespace {

constexpr int kMostTokens = 200;

// The tiny model's engine on a device.
class DeviceEngine {
 public:
  explicit DeviceEngine(int depth, bool record_steps = true)
      : ops_(CudaOps::Create({.record_steps = record_steps}).value()),
        model_(LoadModel(WriteTinyModel({.dtype = DType::kQ4_1}), *ops_, nullptr).value()),
        kv_cache_(ops_->AllocateKvCache({.num_layers = model_.config.num_layers,
                                         .num_heads = model_.config.num_heads,
                                         .num_kv_heads = model_.config.num_kv_heads,
                                         .head_dim = model_.config.head_dim,
                                         .page_size = 16,
                                         .num_pages = 400})
                      .value()),
        runner_(LocalModelRunner::Make(model_, *ops_, *kv_cache_, kMostTokens).value()),
        engine_(Options(depth), *runner_) {}

  void Submit(GenerateRequest request) { ASSERT_TRUE(engine_.Submit(std::move(request), now_).ok()); }
  StepOutput Step() {
    StepOutput step = engine_.Step(now_);
    engine_.CheckInvariants();
    for (const SequenceOutput& output : step.outputs) {
      std::vector<TokenId>& tokens = tokens_[{output.request, output.index}];
      tokens.insert(tokens.end(), output.tokens.begin(), output.tokens.end());
      if (output.last) ended_[output.request] = output.status;
    }
    return step;
  }
  void RunToEnd() {
    while (engine_.HasWork()) Step();
  }

  const std::map<std::pair<RequestId, int>, std::vector<TokenId>>& tokens() const { return tokens_; }
  const std::map<RequestId, absl::Status>& ended() const { return ended_; }
  EngineStats stats() const { return engine_.stats(); }
  CudaStepCounts counts() const { return ops_->step_counts(); }

 private:
  EngineOptions Options(int depth) const {
    EngineOptions options;
    options.max_model_len = 256;
    options.max_num_seqs = 100;
    options.max_num_batched_tokens = kMostTokens;
    options.vocab_size = model_.config.vocab_size;
    options.eos_token_ids = model_.tokenizer->end_tokens();
    options.blocks = {.num_blocks = 400, .block_size = 16};
    options.pipeline_depth = depth;
    return options;
  }

  const absl::Time now_ = absl::FromUnixSeconds(1'000'000);
  std::unique_ptr<CudaOps> ops_;
  LoadedModel model_;
  std::unique_ptr<KvCache> kv_cache_;
  std::unique_ptr<LocalModelRunner> runner_;
  Engine engine_;
  std::map<std::pair<RequestId, int>, std::vector<TokenId>> tokens_;
  std::map<RequestId, absl::Status> ended_;
};

GenerateRequest MakeRequest(RequestId id, int num_tokens, int max_tokens) {
  GenerateRequest request;
  request.id = id;
  request.prompt = RandomTokens(num_tokens, static_cast<uint32_t>(id));
  request.sampling.seed = 100 + id;
  request.sampling.max_tokens = max_tokens;
  request.sampling.temperature = id % 3 == 0 ? 0.0f : 1.2f;
  return request;
}

class CudaPipeline : public testing::Test {
 protected:
  CudaPipeline() {
    cuda_shim::Reset();
    cuda_shim::SetDeferred(true);  // Nothing is done before somebody waits for it.
  }
  ~CudaPipeline() override { cuda_shim::Reset(); }
};

// Requests of all kinds that come and go, by their lengths and by tokens.
void RunMixed(DeviceEngine& engine) {
  for (int i = 0; i < 10; ++i) {
    GenerateRequest request = MakeRequest(i, 3 + 6 * i, 6 + 5 * (i % 4));
    if (i % 2 == 1) {
      for (TokenId token = 0; token < 40; ++token) request.sampling.stop_token_ids.push_back(token * 6);
    }
    if (i % 4 == 1) request.sampling.min_tokens = 4;
    if (i == 3) request.sampling.n = 3;
    if (i == 5) request.sampling.logit_bias = {{65, 3.0f}, {66, -2.0f}};
    if (i == 8) request.sampling.repetition_penalty = 1.2f;
    engine.Submit(std::move(request));
    if (i % 2 == 0) engine.Step();
    if (i % 4 == 0) engine.Step();
  }
  engine.RunToEnd();
}

TEST_F(CudaPipeline, ChoosesTheSameTokensAtAnyDepth) {
  DeviceEngine plain(1);
  RunMixed(plain);
  EXPECT_EQ(plain.stats().steps_ahead_total, 0u);
  for (const bool record_steps : {true, false}) {
    DeviceEngine ahead(2, record_steps);
    RunMixed(ahead);
    EXPECT_GT(ahead.stats().steps_ahead_total, 5u);
    EXPECT_EQ(ahead.counts().graph_launches > 0, record_steps);
    EXPECT_EQ(ahead.tokens(), plain.tokens());
    EXPECT_EQ(ahead.stats().blocks.used, 0);
  }
}

// More rows than logits are kept of at a time: the tokens of all of them are there for the next step.
TEST_F(CudaPipeline, FollowsTheTokensOfEveryCallOfSample) {
  std::vector<std::map<std::pair<RequestId, int>, std::vector<TokenId>>> tokens;
  for (const int depth : {1, 2}) {
    DeviceEngine engine(depth);
    for (int i = 0; i < 80; ++i) engine.Submit(MakeRequest(i, 2, 5));
    engine.RunToEnd();
    EXPECT_EQ(engine.stats().steps_ahead_total, depth == 1 ? 0u : 4u);
    tokens.push_back(engine.tokens());
  }
  EXPECT_EQ(tokens[0], tokens[1]);
}

// Each call may fail once, in a step that is launched ahead or in one that is not. Requests in it end, and whoever comes
// then gets what it should.
TEST_F(CudaPipeline, GoesOnAfterAnyCallThatFailedOnce) {
  if (!cuda_shim::IsEmulated()) GTEST_SKIP() << "only the emulated device can be made to fail";
  DeviceEngine plain(1);
  plain.Submit(MakeRequest(7, 10, 6));
  plain.RunToEnd();
  using cuda_shim::Call;
  GridCases cases(4);
  for (const Call call : {Call::kMalloc, Call::kMallocHost, Call::kCopy, Call::kLaunch, Call::kStream, Call::kGraph}) {
    for (int after = 0; after < 60; after += 7) {
      if (!cases.Takes()) continue;
      SCOPED_TRACE(after);
      DeviceEngine engine(2);
      engine.Submit(MakeRequest(1, 5, 12));
      engine.Submit(MakeRequest(2, 7, 12));
      cuda_shim::FailNext(call, call == Call::kLaunch ? cudaErrorInvalidConfiguration : cudaErrorMemoryAllocation,
                          after);
      engine.RunToEnd();
      cuda_shim::Reset();
      cuda_shim::SetDeferred(true);
      EXPECT_EQ(engine.ended().size(), 2u);
      EXPECT_EQ(engine.ended().at(1).ok(), engine.ended().at(2).ok());
      engine.Submit(MakeRequest(7, 10, 6));
      engine.RunToEnd();
      EXPECT_EQ(engine.tokens().at({7, 0}), plain.tokens().at({7, 0}));
    }
  }
}

TEST_F(CudaPipeline, EndsAllWhenTheDeviceIsLost) {
  if (!cuda_shim::IsEmulated()) GTEST_SKIP() << "only the emulated device can be made to fail";
  DeviceEngine engine(2);
  engine.Submit(MakeRequest(1, 5, 40));
  for (int i = 0; i < 4; ++i) engine.Step();
  cuda_shim::FailNext(cuda_shim::Call::kExecution, cudaErrorIllegalAddress, /*after=*/5);
  absl::Status status;
  while (engine.ended().empty()) status = engine.Step().model_status;
  EXPECT_TRUE(absl::IsUnavailable(status));
  EXPECT_TRUE(absl::IsUnavailable(engine.ended().at(1)));
  engine.Submit(MakeRequest(2, 5, 40));
  EXPECT_TRUE(absl::IsUnavailable(engine.Step().model_status));
  cuda_shim::Reset();  // A lost device takes no memory back.
}

}  // namespace
}  // namespace quire
