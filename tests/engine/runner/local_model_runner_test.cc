#include "engine/runner/local_model_runner.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/fakes/sequence_batch.h"
#include "tests/fakes/tiny_model.h"
#include "tests/reference/reference_ops.h"

namespace quire {
namespace {

constexpr int kPageSize = 16;
constexpr int kMaxTokens = 200;

class LocalModelRunnerTest : public ::testing::Test {
 protected:
  LocalModelRunnerTest()
      : model_(LoadModel(WriteTinyModel(), ops_, nullptr).value()),
        kv_cache_(ops_.AllocateKvCache({.num_layers = model_.config.num_layers,
                                        .num_kv_heads = model_.config.num_kv_heads,
                                        .head_dim = model_.config.head_dim,
                                        .page_size = kPageSize,
                                        .num_pages = 32,
                                        .key_dtype = KvDType::kF32,
                                        .value_dtype = KvDType::kF32})
                      .value()),
        runner_(LocalModelRunner::Make(model_, ops_, *kv_cache_, kMaxTokens).value()) {
    greedy_.temperature = 0;
    greedy_.logprobs = 0;
    greedy_.prompt_logprobs = 0;
    for (int i = 0; i < kMaxTokens; ++i) tokens_.push_back(i * 37 % kTinyVocabSize);
  }

  std::span<const SampledToken> Run(const Batch& batch) {
    runner_->Launch(batch, /*gives_way=*/nullptr);
    const auto sampled = runner_->Await();
    EXPECT_TRUE(sampled.ok());
    EXPECT_EQ(sampled->size(), batch.logit_rows.size());
    return *sampled;
  }

  // The first twenty tokens, in pages from `first_page` on; what comes next is chosen.
  Batch LoneSequence(int first_page) const {
    Batch batch;
    AddSequence(tokens_, 0, 20, first_page, kPageSize, batch);
    batch.logit_rows = {Row(19)};
    return batch;
  }

  // Of `row`'s token; what comes next is chosen, or `score` is scored.
  LogitRow Row(int row, TokenId score = -1) const {
    LogitRow result;
    result.row = row;
    result.params = &greedy_;
    result.position = row + 1;
    result.tokens = tokens_;
    result.num_prompt_tokens = kMaxTokens;
    result.score = score;
    return result;
  }

  // The model's own log-probabilities after tokens [0, row], from a pass of the decoder without the runner.
  std::vector<double> Logprobs(int row) {
    Batch batch;
    AddSequence(tokens_, 0, row + 1, 16, kPageSize, batch);
    const auto decoder = Decoder::Make(model_.config, model_.weights, ops_, *kv_cache_, kMaxTokens).value();
    decoder->Forward(batch);
    const int32_t rows[] = {row};
    const MatrixView<const float> logits = decoder->Logits(rows);
    double total = 0;
    for (int v = 0; v < kTinyVocabSize; ++v) total += std::exp(double{logits.data[v]});
    std::vector<double> logprobs;
    for (int v = 0; v < kTinyVocabSize; ++v) logprobs.push_back(logits.data[v] - std::log(total));
    return logprobs;
  }

  ReferenceOps ops_;
  LoadedModel model_;
  std::unique_ptr<KvCache> kv_cache_;
  std::unique_ptr<LocalModelRunner> runner_;
  SamplingParams greedy_;
  std::vector<TokenId> tokens_;
};

TEST_F(LocalModelRunnerTest, ChoosesTheLikeliestTokenWhenGreedy) {
  const SampledToken sampled = Run(LoneSequence(0))[0];
  const std::vector<double> logprobs = Logprobs(19);
  EXPECT_TRUE(sampled.status.ok());
  EXPECT_EQ(sampled.token, std::max_element(logprobs.begin(), logprobs.end()) - logprobs.begin());
  EXPECT_NEAR(sampled.logprob, logprobs[sampled.token], 1e-4);
}

TEST_F(LocalModelRunnerTest, AnswersMoreRowsThanASliceHoldsInTheOrderAsked) {
  Batch batch;
  AddSequence(tokens_, 0, kMaxTokens, 0, kPageSize, batch);
  // Backwards, each twice: 400 answers from 200 rows.
  for (int row = kMaxTokens - 1; row >= 0; --row) {
    batch.logit_rows.push_back(Row(row, tokens_[row] / 2));
    batch.logit_rows.push_back(Row(row));
  }
  const std::span<const SampledToken> sampled = Run(batch);
  for (const int row : {0, 1, 62, 63, 64, 65, 127, 128, 199}) {
    SCOPED_TRACE(row);
    const std::vector<double> logprobs = Logprobs(row);
    const size_t index = 2 * (kMaxTokens - 1 - row);
    EXPECT_NEAR(sampled[index].logprob, logprobs[tokens_[row] / 2], 1e-4);
    EXPECT_EQ(sampled[index + 1].token, std::max_element(logprobs.begin(), logprobs.end()) - logprobs.begin());
  }
}

TEST_F(LocalModelRunnerTest, CopiesPagesBeforeItComputes) {
  const SampledToken expected = Run(LoneSequence(0))[0];
  // Token 19 again, over copies of the pages that hold the ones before it.
  Batch second;
  second.page_copies = {{0, 8, kPageSize}, {1, 9, 3}};
  AddSequence(tokens_, 19, 1, 8, kPageSize, second);
  second.logit_rows = {Row(0)};
  const SampledToken sampled = Run(second)[0];
  EXPECT_EQ(sampled.token, expected.token);
  EXPECT_EQ(sampled.logprob, expected.logprob);
}

TEST_F(LocalModelRunnerTest, ComputesAStepAnewThatWasGivenUpHalfWay) {
  const SampledToken expected = Run(LoneSequence(0))[0];
  // Of the same sequence, in other pages.
  const Batch again = LoneSequence(16);
  for (int layers = 0; layers < model_.config.num_layers; ++layers) {
    int num_asked = 0;
    runner_->Launch(again, [&] { return num_asked++ == layers; });
    EXPECT_EQ(runner_->Await().status().code(), absl::StatusCode::kAborted);
    EXPECT_EQ(num_asked, layers + 1) << "nobody is asked once it is settled";
  }
  const SampledToken sampled = Run(again)[0];
  EXPECT_EQ(sampled.token, expected.token);
  EXPECT_EQ(sampled.logprob, expected.logprob);
}

TEST_F(LocalModelRunnerTest, RunsAStepThatAsksForNothing) {
  Batch batch;
  AddSequence(tokens_, 0, 20, 0, kPageSize, batch);
  EXPECT_TRUE(Run(batch).empty());
  Batch next;
  AddSequence(tokens_, 20, 1, 0, kPageSize, next);
  next.logit_rows = {Row(0)};
  EXPECT_NEAR(Run(next)[0].logprob, Logprobs(20)[Run(next)[0].token], 1e-4);
}

TEST_F(LocalModelRunnerTest, FailsOnlyTheRowsWhoseLogitsAreNotFinite) {
  // Page 31 was never written: the reference's cache holds NaN there.
  Batch batch;
  AddSequence(tokens_, 0, 20, 0, kPageSize, batch);
  AddSequence(tokens_, 5, 1, 31, kPageSize, batch);
  batch.logit_rows = {Row(20), Row(19)};
  const std::span<const SampledToken> sampled = Run(batch);
  EXPECT_FALSE(sampled[0].status.ok());
  EXPECT_TRUE(sampled[1].status.ok());
}

// Allows one token, or fails.
class OneToken : public TokenConstraint {
 public:
  explicit OneToken(absl::StatusOr<TokenId> token) : token_(std::move(token)) {}
  std::unique_ptr<TokenConstraint> Clone() const override { return std::make_unique<OneToken>(*this); }
  absl::Status FillMask(std::span<uint32_t> allowed) override {
    ++num_asked;
    std::ranges::fill(allowed, 0);
    if (token_.ok()) allowed[*token_ / 32] = uint32_t{1} << *token_ % 32;
    return token_.status();
  }
  absl::Status Accept(TokenId) override { return absl::OkStatus(); }
  bool ended() const override { return false; }
  int num_asked = 0;

 private:
  absl::StatusOr<TokenId> token_;
};

TEST_F(LocalModelRunnerTest, AsksEachConstraintOnceAndFailsOnlyTheRowsOfOneThatFails) {
  OneToken seven(7), broken(absl::ResourceExhaustedError("too hard"));
  Batch batch;
  AddSequence(tokens_, 0, 20, 0, kPageSize, batch);
  batch.logit_rows = {Row(19), Row(19), Row(19), Row(19)};
  batch.logit_rows[0].constraint = batch.logit_rows[1].constraint = &seven;
  batch.logit_rows[2].constraint = &broken;
  const std::span<const SampledToken> sampled = Run(batch);
  EXPECT_EQ(sampled[0].token, 7);
  EXPECT_EQ(sampled[1].token, 7);
  EXPECT_EQ(seven.num_asked, 1);
  EXPECT_EQ(sampled[2].status, absl::ResourceExhaustedError("too hard"));
  EXPECT_TRUE(sampled[3].status.ok());
  const std::vector<double> logprobs = Logprobs(19);
  EXPECT_EQ(sampled[3].token, std::max_element(logprobs.begin(), logprobs.end()) - logprobs.begin());
}

TEST_F(LocalModelRunnerTest, LetsAnAnswerEndThatCannotGoOnBelowMinTokens) {
  const TokenId end = model_.tokenizer->end_tokens().at(0);
  OneToken only_the_end(end);
  Batch batch;
  AddSequence(tokens_, 0, 20, 0, kPageSize, batch);
  batch.logit_rows = {Row(19)};
  batch.logit_rows[0].constraint = &only_the_end;
  batch.logit_rows[0].forbid_stop = true;
  EXPECT_EQ(Run(batch)[0].token, end);
}

}  // namespace
}  // namespace quire
