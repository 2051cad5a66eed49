// The real pipeline and engine, and a model of letters whose answers are known in advance.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/notification.h"
#include "server/serving_pipeline.h"
#include "tests/fakes/fake_model_runner.h"
#include "tests/server/letter_tokenizer.h"

namespace quire {

class LettersPipeline {
 public:
  static constexpr int kMaxRequests = 40;
  static constexpr int kMaxModelLen = 4096;

  // Without a template the model cannot chat.
  explicit LettersPipeline(
      std::unique_ptr<ChatTemplate> chat_template, std::function<void()> device_lost = [] {},
      TenantDirectory tenants = {})
      : chat_template_(std::move(chat_template)) {
    EngineOptions options;
    options.max_model_len = kMaxModelLen;
    options.max_num_seqs = 16;
    options.max_num_batched_tokens = 64;
    options.max_waiting_requests = kMaxRequests;
    options.vocab_size = LetterTokenizer::kVocabSize;
    options.eos_token_ids = {LetterTokenizer::kEnd};
    options.blocks = {.num_blocks = 4 * kMaxModelLen / 16, .block_size = 16};
    runner_ = std::make_unique<FakeModelRunner>(model_, options.blocks.num_blocks, options.blocks.block_size);
    engine_ = std::make_unique<Engine>(options, *runner_);
    ServedModel served;
    served.name = "letters";
    served.max_model_len = kMaxModelLen;
    served.tokenizer = &tokenizer_;
    served.chat_template = chat_template_.get();
    if (chat_template_ == nullptr) served.chat_template_error = "it has none";
    pipeline_ = std::make_unique<ServingPipeline>(served, *engine_, kMaxRequests, std::move(device_lost), nullptr,
                                                  std::move(tenants));
  }

  ServingPipeline& operator*() { return *pipeline_; }
  ServingPipeline* operator->() { return pipeline_.get(); }
  const Tokenizer& tokenizer() const { return tokenizer_; }
  FakeModelRunner& runner() { return *runner_; }

  EngineStats Stats() {
    EngineStats stats;
    absl::Notification answered;
    EXPECT_TRUE(pipeline_->TryRunOnEngine([&](const Engine& engine) {
      stats = engine.stats();
      answered.Notify();
    }));
    answered.WaitForNotification();
    return stats;
  }

  // What the model says to `text`, greedily and past its end tokens.
  std::vector<TokenId> Expected(const std::string& text, int max_tokens) const {
    SamplingParams params;
    params.temperature = 0;
    params.ignore_eos = true;
    params.max_tokens = max_tokens;
    return model_.Generate(*tokenizer_.Encode(text, {}), params, 0);
  }
  std::string ExpectedText(const std::string& text, int max_tokens) const {
    return Decode(tokenizer_, Expected(text, max_tokens), /*keep_special=*/false).value();
  }

 private:
  const LetterTokenizer tokenizer_;
  FakeModel model_{LetterTokenizer::kVocabSize, {LetterTokenizer::kEnd}};
  std::unique_ptr<FakeModelRunner> runner_;
  std::unique_ptr<Engine> engine_;
  const std::unique_ptr<ChatTemplate> chat_template_;
  std::unique_ptr<ServingPipeline> pipeline_;
};

}  // namespace quire
