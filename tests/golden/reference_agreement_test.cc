// Every instruction set, and a GPU, against the reference, token by token.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <tuple>

#include "engine/loader/checkpoint.h"
#include "kernels/dequantize.h"
#include "tests/emulation/kernel_builds.h"
#include "tests/golden/golden.h"
#include "tests/golden/gpu_backend.h"
#include "tests/golden/real_model.h"

namespace quire {
namespace {

constexpr int kReported = 20;  // Alternatives asked for at each position, so that the reference's five are among them.

// For each token of `tokens` from the second on, how likely the model holds it and what it holds likelier.
std::vector<TokenLogprob> Score(RealEngine& engine, const std::vector<TokenId>& tokens) {
  GenerateRequest request;
  request.prompt = tokens;
  request.sampling = {.temperature = 0, .max_tokens = 1, .prompt_logprobs = kReported};
  std::vector<TokenLogprob> scores = engine.RunOne(request).prompt_logprobs;
  EXPECT_EQ(scores.size(), tokens.size() - 1);
  return scores;
}

// What a kind of KV cache may do to logits. int8 has about five times the noise of bfloat16, enough to tip a sure
// choice now and then; int4 has several times that of int8. fp8, with three bits of
// fraction, lies between the two, and gets int4's: nobody has measured it yet.
struct Tolerance {
  double nll;                // Nats a token: 0.002 for a perplexity within 0.2 %.
  double logprob;            // Nats, of any of the likeliest tokens.
  double different_choices;  // Of the sure ones.
};

Tolerance ToleranceOf(const KvTypes& kv, InstructionSet instruction_set) {
  if (kv.key == KvDType::kBF16) {
    // From there on, attention rounds queries and softmax weights as well; so it does on a GPU.
    return {0.002, instruction_set >= InstructionSet::kAvx512Bf16 ? 0.3 : 0.2, 0};
  }
  if (kv.value == KvDType::kInt8) return {0.002, 0.6, 0.002};
  if (kv.key == KvDType::kInt8) return {0.01, 1.0, 0.01};
  return {0.025, 2.5, 0.06};
}

class Agreement {
 public:
  void Add(const TokenLogprob& ours, TokenId reference, double margin) {
    if (margin <= kSureMargin) return;
    ++num_sure_;
    num_different_ += ours.top[0].first != reference;
  }
  void Expect(int least_sure, double different_choices) const {
    EXPECT_GE(num_sure_, least_sure);
    testing::Test::RecordProperty("sure_choices", num_sure_);
    testing::Test::RecordProperty("different_choices", num_different_);
    EXPECT_LE(num_different_, num_sure_ * different_choices) << "of " << num_sure_;
  }

 private:
  int num_sure_ = 0;
  int num_different_ = 0;
};

// Builds of the kernels by name, with each kind of KV cache. Those that cannot run here are not tested. AMX has the bits
// of AVX-512, as tests/kernels/cpu/matmul_test.cc shows; so it needs no emulation here.
class ReferenceAgreement : public testing::TestWithParam<std::tuple<std::string, KvTypes>> {
 protected:
  void SetUp() override {
    const auto& [name, kv] = GetParam();
    if (name == kGpuBackend) {
      absl::StatusOr<std::unique_ptr<Ops>> ops = MakeGpuOps();
      if (!ops.ok()) GTEST_SKIP() << ops.status();
      tolerance_ = ToleranceOf(kv, InstructionSet::kAvx512Bf16);
      UseOps(*std::move(ops), kv);
      return;
    }
    const std::optional<KernelBuild> build = FindKernelBuild(name);
    if (!build) GTEST_SKIP() << "this machine lacks " << name;
    slow_ = build->name == "portable";
    tolerance_ = ToleranceOf(kv, build->instruction_set);
    UseOps(build->MakeOps(1), kv);
  }
  void UseOps(std::unique_ptr<Ops> ops, const KvTypes& kv) {
    model_ = std::make_unique<RealModel>(std::move(ops));
    engine_ = std::make_unique<RealEngine>(*model_, EngineSetup{.kv = kv});
  }

  Tolerance tolerance_;
  bool slow_ = false;  // Much slower than the others: gets less to do.
  std::unique_ptr<RealModel> model_;
  std::unique_ptr<RealEngine> engine_;
};

std::string TestName(const testing::TestParamInfo<std::tuple<std::string, KvTypes>>& tested) {
  return std::get<0>(tested.param) + "_" + NameOf(std::get<1>(tested.param));
}

INSTANTIATE_TEST_SUITE_P(, ReferenceAgreement,
                         testing::Combine(testing::Values("portable", "avx2", "avx2_vnni", "avx512_vnni", "avx512_bf16",
                                                          "amx", "avx2_vnni_emulated"),
                                          testing::ValuesIn(kUsefulKv)),
                         TestName);
INSTANTIATE_TEST_SUITE_P(Gpu, ReferenceAgreement,
                         testing::Combine(testing::Values(kGpuBackend), testing::ValuesIn(kGpuKv)), TestName);

// The reference's own tokens are fed, so that one difference does not hide what comes after it.
TEST_P(ReferenceAgreement, ChoosesTheSameTokensWhereverTheReferenceIsSure) {
  constexpr size_t kShort = 5;
  Agreement agreement;
  double worst_logprob = 0;
  double sum_of_squares = 0;
  int num_logprobs = 0;
  for (const GoldenPrompt& prompt : GetGolden().prompts) {
    if (slow_ && prompt.token_ids.size() > kShort) continue;
    SCOPED_TRACE(prompt.name);
    std::vector<TokenId> tokens = prompt.token_ids;
    tokens.insert(tokens.end(), prompt.greedy.begin(), prompt.greedy.end());
    const std::vector<TokenLogprob> scores = Score(*engine_, tokens);
    const auto at_step = [&](size_t step) { return scores[prompt.token_ids.size() - 1 + step]; };
    for (size_t step = 0; step < prompt.greedy.size(); ++step) {
      agreement.Add(at_step(step), prompt.greedy[step], prompt.margins[step]);
    }
    for (const GoldenTop& top : prompt.top) {
      const TokenLogprob& score = at_step(top.step);
      for (size_t i = 0; i < top.token_ids.size(); ++i) {
        const auto found = std::find_if(score.top.begin(), score.top.end(),
                                        [&](const auto& entry) { return entry.first == top.token_ids[i]; });
        ASSERT_NE(found, score.top.end()) << "step " << top.step << ": token " << top.token_ids[i];
        const double difference = found->second - top.logprobs[i];
        worst_logprob = std::max(worst_logprob, std::abs(difference));
        sum_of_squares += difference * difference;
        ++num_logprobs;
      }
    }
  }
  agreement.Expect(slow_ ? 150 : 1000, tolerance_.different_choices);
  RecordProperty("worst_logprob", std::to_string(worst_logprob));
  RecordProperty("rms_logprob", std::to_string(std::sqrt(sum_of_squares / num_logprobs)));
  EXPECT_LT(worst_logprob, tolerance_.logprob);
}

// The likeliest tokens' logits, made of an embedding by the model's (tied) output head, lie as far apart as the
// reference's.
TEST_P(ReferenceAgreement, EmbedsPromptsAsTheReferenceSeesThem) {
  const std::unique_ptr<Checkpoint> checkpoint = OpenCheckpoint(QUIRE_TEST_MODEL).value();
  const RawMatrix head = checkpoint->GetTensor("token_embd.weight").value();
  const size_t hidden_size = static_cast<size_t>(model_->model().config.hidden_size);
  std::vector<float> weights(hidden_size);
  for (const GoldenPrompt& prompt : GetGolden().prompts) {
    if (prompt.token_ids.size() > (slow_ ? 5u : 40u)) continue;
    SCOPED_TRACE(prompt.name);
    GenerateRequest request;
    request.prompt = prompt.token_ids;
    request.embed = true;
    const std::vector<float> embedding = engine_->RunOne(request).embedding;
    ASSERT_EQ(embedding.size(), hidden_size);
    std::vector<double> logits;
    for (const TokenId token : prompt.top[0].token_ids) {
      DequantizeRow(head.dtype, head.bytes.data() + token * (head.bytes.size() / head.rows), weights);
      logits.push_back(std::inner_product(weights.begin(), weights.end(), embedding.begin(), 0.0));
    }
    for (size_t i = 1; i < logits.size(); ++i) {
      const double expected = prompt.top[0].logprobs[i] - prompt.top[0].logprobs[0];
      EXPECT_NEAR(logits[i] - logits[0], expected, 2 * tolerance_.logprob) << i;
    }
  }
}

TEST_P(ReferenceAgreement, FindsThePassageAsLikelyAsTheReferenceDoes) {
  if (slow_) GTEST_SKIP() << "too slow for thousands of tokens";
  const GoldenPassage& passage = GetGolden().passage;
  const std::vector<TokenLogprob> scores = Score(*engine_, passage.token_ids);
  Agreement agreement;
  double nll = 0;
  for (size_t i = 0; i < scores.size(); ++i) {
    nll -= scores[i].logprob;
    agreement.Add(scores[i], passage.greedy[i], passage.margins[i]);
  }
  agreement.Expect(2000, tolerance_.different_choices);
  const double mean_nll = nll / static_cast<double>(scores.size());
  RecordProperty("mean_nll", std::to_string(mean_nll));
  EXPECT_NEAR(mean_nll, passage.mean_nll, tolerance_.nll);
}

// All prompts at once, each feeding on its own choices: equal up to the first step where the reference is not sure,
// from where on another continuation would be as good.
TEST_P(ReferenceAgreement, ContinuesAsTheReferenceDoesWhileThatIsSure) {
  if (slow_) GTEST_SKIP() << "too slow for long prompts";
  const std::vector<GoldenPrompt>& prompts = GetGolden().prompts;
  std::vector<GenerateRequest> requests;
  for (const GoldenPrompt& prompt : prompts) {
    GenerateRequest& request = requests.emplace_back();
    request.prompt = prompt.token_ids;
    request.sampling = {.temperature = 0, .max_tokens = static_cast<int>(prompt.greedy.size()), .ignore_eos = true};
  }
  const std::vector<Stream> streams = engine_->Run(std::move(requests));
  int num_compared = 0;
  int num_parted = 0;
  for (size_t i = 0; i < prompts.size(); ++i) {
    ASSERT_EQ(streams[i].tokens.size(), prompts[i].greedy.size()) << prompts[i].name;
    for (size_t step = 0; step < prompts[i].greedy.size() && prompts[i].margins[step] > kSureMargin; ++step) {
      ++num_compared;
      if (streams[i].tokens[step] == prompts[i].greedy[step]) continue;
      ++num_parted;
      break;
    }
  }
  EXPECT_GT(num_compared, 70);
  EXPECT_LE(num_parted, num_compared * tolerance_.different_choices);
}

}  // namespace
}  // namespace quire
