// A stream does not depend on what else the server does: the same bits alone or in company, cold or warm, in one piece
// or in chunks, on small pages or large, preempted or not.
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <string>
#include <tuple>

#include "tests/golden/golden.h"
#include "tests/golden/gpu_backend.h"
#include "tests/golden/real_model.h"

namespace quire {
namespace {

constexpr int kNewTokens = 20;

// Greedy and seeded, short and long, with filters and penalties; and one that is to be embedded.
std::vector<GenerateRequest> Requests() {
  const SamplingParams greedy = {.temperature = 0, .max_tokens = kNewTokens, .ignore_eos = true, .logprobs = 3};
  SamplingParams plain = greedy;
  plain.temperature = 1.0f;
  plain.seed = 7;
  SamplingParams filtered = plain;
  filtered.top_p = 0.9f;
  filtered.top_k = 50;
  filtered.repetition_penalty = 1.1f;
  SamplingParams chosen_only = filtered;  // Which a GPU may draw itself.
  chosen_only.logprobs = 0;
  const std::vector<std::pair<std::string, SamplingParams>> cases = {
      {"story", greedy},    {"story", plain},       {"chat question", greedy}, {"chat question", filtered},
      {"one token", plain}, {"fact", chosen_only}, {"long prose", filtered},
  };
  std::vector<GenerateRequest> requests;
  for (const auto& [name, sampling] : cases) {
    for (const GoldenPrompt& prompt : GetGolden().prompts) {
      if (prompt.name != name) continue;
      GenerateRequest& request = requests.emplace_back();
      request.prompt = prompt.token_ids;
      request.sampling = sampling;
    }
  }
  EXPECT_EQ(requests.size(), cases.size());
  GenerateRequest embedding;
  embedding.prompt = requests[0].prompt;
  embedding.embed = true;
  requests.insert(requests.begin() + 2, embedding);
  return requests;
}

// Ten of the shorter prompts, sampled, to share the steps with.
std::vector<GenerateRequest> Company() {
  std::vector<GenerateRequest> company;
  for (const GoldenPrompt& prompt : GetGolden().prompts) {
    if (company.size() == 10 || prompt.token_ids.size() > 40) continue;
    GenerateRequest& request = company.emplace_back();
    request.prompt = prompt.token_ids;
    request.sampling = {
        .seed = company.size(), .max_tokens = 12 + static_cast<int>(company.size()), .ignore_eos = true};
  }
  return company;
}

bool SameBits(float a, float b) { return std::memcmp(&a, &b, sizeof(a)) == 0; }

void ExpectSameStream(const Stream& stream, const Stream& expected) {
  ASSERT_EQ(stream.tokens, expected.tokens);
  ASSERT_EQ(stream.embedding, expected.embedding);
  ASSERT_EQ(stream.logprobs.size(), expected.logprobs.size());
  for (size_t i = 0; i < stream.logprobs.size(); ++i) {
    EXPECT_TRUE(SameBits(stream.logprobs[i].logprob, expected.logprobs[i].logprob)) << "token " << i;
    EXPECT_EQ(stream.logprobs[i].top, expected.logprobs[i].top) << "token " << i;
  }
}

void ExpectSameStreams(const std::vector<Stream>& streams, const std::vector<Stream>& expected) {
  for (size_t i = 0; i < expected.size(); ++i) {
    SCOPED_TRACE(testing::Message() << "request " << i);
    ExpectSameStream(streams[i], expected[i]);
  }
}

constexpr const char* kCpuBackend = "cpu";

// Backends with each kind of KV cache. One that is not there is not tested.
class Invariance : public testing::TestWithParam<std::tuple<std::string, KvTypes>> {
 protected:
  void SetUp() override {
    std::unique_ptr<RealModel>& model = models_[std::get<0>(GetParam())];
    if (model == nullptr) model = MakeModel(2);
    if (model == nullptr) GTEST_SKIP() << "no GPU";
    model_ = model.get();
  }
  static void TearDownTestSuite() { models_.clear(); }

  // nullptr where there is no such backend.
  static std::unique_ptr<RealModel> MakeModel(int num_threads) {
    if (std::get<0>(GetParam()) == kCpuBackend) return std::make_unique<RealModel>("", num_threads);
    absl::StatusOr<std::unique_ptr<Ops>> ops = MakeGpuOps();
    return ops.ok() ? std::make_unique<RealModel>(*std::move(ops)) : nullptr;
  }

  static EngineSetup Setup(EngineSetup setup = {}) {
    setup.kv = std::get<1>(GetParam());
    return setup;
  }

  // Each alone, from a cold start.
  std::vector<Stream> Isolated(const std::vector<GenerateRequest>& requests) {
    std::vector<Stream> streams;
    for (const GenerateRequest& request : requests) {
      streams.push_back(RealEngine(*model_, Setup()).RunOne(request));
      EXPECT_EQ(streams.back().tokens.size(), request.embed ? 0u : static_cast<size_t>(kNewTokens));
      EXPECT_EQ(streams.back().embedding.empty(), !request.embed);
    }
    return streams;
  }

  static std::map<std::string, std::unique_ptr<RealModel>> models_;  // By backend.
  const RealModel* model_ = nullptr;
};

std::map<std::string, std::unique_ptr<RealModel>> Invariance::models_;

std::string TestName(const testing::TestParamInfo<std::tuple<std::string, KvTypes>>& tested) {
  return std::get<0>(tested.param) + "_" + NameOf(std::get<1>(tested.param));
}

INSTANTIATE_TEST_SUITE_P(, Invariance, testing::Combine(testing::Values(kCpuBackend), testing::ValuesIn(kUsefulKv)),
                         TestName);
INSTANTIATE_TEST_SUITE_P(Gpu, Invariance, testing::Combine(testing::Values(kGpuBackend), testing::ValuesIn(kGpuKv)),
                         TestName);

TEST_P(Invariance, StreamsAreTheSameWhoeverElseIsServedAndHowever) {
  const std::vector<Stream> expected = Isolated(Requests());
  EXPECT_NE(expected[0].tokens, expected[1].tokens);  // Sampling samples.

  std::vector<GenerateRequest> crowd = Requests();
  for (GenerateRequest& request : Company()) crowd.push_back(std::move(request));
  {
    SCOPED_TRACE("in company, then again from a warm cache");
    RealEngine engine(*model_, Setup());
    ExpectSameStreams(engine.Run(crowd), expected);
    const std::vector<Stream> warm = engine.Run(crowd);
    ExpectSameStreams(warm, expected);
    for (size_t i = 0; i < expected.size(); ++i) {
      // All but the last prompt token, which has to be computed for its logits.
      EXPECT_EQ(warm[i].usage.cached_tokens, warm[i].usage.prompt_tokens - 1);
    }
  }
  {
    SCOPED_TRACE("small pages, small steps");
    ExpectSameStreams(RealEngine(*model_, Setup({.block_size = 16, .max_num_batched_tokens = 17})).Run(crowd),
                      expected);
  }
  {
    SCOPED_TRACE("large pages, large steps");
    ExpectSameStreams(
        RealEngine(*model_, Setup({.block_size = 128, .num_blocks = 128, .max_num_batched_tokens = 1000})).Run(crowd),
        expected);
  }
}

TEST_P(Invariance, StreamsAreTheSameWhenPreempted) {
  std::vector<GenerateRequest> requests = Requests();
  requests.pop_back();  // The long prompt alone would not fit.
  const std::vector<Stream> expected = Isolated(requests);
  // Those that came first take the pages of these as they grow.
  std::vector<GenerateRequest> crowd = Company();
  const auto num_before = static_cast<std::ptrdiff_t>(crowd.size());
  for (GenerateRequest& request : crowd) request.sampling.max_tokens = 50;
  for (GenerateRequest& request : requests) crowd.push_back(std::move(request));
  RealEngine engine(*model_, Setup({.block_size = 16, .num_blocks = 32}));
  const std::vector<Stream> streams = engine.Run(std::move(crowd));
  ExpectSameStreams({streams.begin() + num_before, streams.end()}, expected);
  EXPECT_GT(engine.stats().preemptions_total, 3u);
}

TEST_P(Invariance, StreamsBeyondTheirWindowAreTheSameHoweverTheyAreServed) {
  constexpr KvWindow kWindow{.sink_tokens = 32, .recent_tokens = 64, .stride_tokens = 32};
  std::vector<GenerateRequest> requests = Requests();
  for (GenerateRequest& request : requests) request.sampling.max_tokens = 150;
  RealEngine alone(*model_, Setup({.num_blocks = 3, .kv_window = kWindow}));
  std::vector<Stream> expected;
  for (const GenerateRequest& request : requests) expected.push_back(alone.RunOne(request));
  EXPECT_NE(expected[0].tokens, RealEngine(*model_, Setup()).RunOne(requests[0]).tokens);
  RealEngine together(*model_, Setup({.block_size = 16, .max_num_batched_tokens = 50, .kv_window = kWindow}));
  ExpectSameStreams(together.Run(requests), expected);
}

TEST_P(Invariance, StreamsAreTheSameWithAnyNumberOfWorkers) {
  const std::unique_ptr<RealModel> other = MakeModel(1);
  std::vector<GenerateRequest> requests = Requests();
  ExpectSameStreams(RealEngine(*other, Setup()).Run(requests), RealEngine(*model_, Setup()).Run(requests));
}

TEST_P(Invariance, ParallelSamplesBeginWithTheStreamOfASingleOne) {
  GenerateRequest request = Requests()[1];
  const Stream single = RealEngine(*model_, Setup()).RunOne(request);
  request.sampling.n = 4;
  ExpectSameStream(RealEngine(*model_, Setup()).RunOne(request), single);
}

}  // namespace
}  // namespace quire
