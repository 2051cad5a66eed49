// The HTTP front over the real pipeline and engine, and a model of letters whose answers are known in advance.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/synchronization/notification.h"
#include "server/http/http_server.h"
#include "server/http/routes.h"
#include "server/serving_pipeline.h"
#include "tests/fakes/fake_model_runner.h"
#include "tests/server/http/http_client.h"
#include "tests/server/letter_tokenizer.h"

namespace quire {

class LettersServer {
 public:
  static constexpr int kMaxRequests = 40;
  static constexpr int kMaxModelLen = 4096;

  explicit LettersServer(TenantDirectory tenants = {}) {
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
    chat_template_ =
        ChatTemplate::Make("{% for m in messages %}{{ m.role }} {{ m.content }} {% endfor %}assistant ", "", "<end>")
            .value();
    ServedModel served;
    served.name = "letters";
    served.max_model_len = kMaxModelLen;
    served.tokenizer = &tokenizer_;
    served.chat_template = chat_template_.get();
    pipeline_ = std::make_unique<ServingPipeline>(served, *engine_, kMaxRequests, [] {}, nullptr, std::move(tenants));
    const HttpServerOptions http{.host = "127.0.0.1", .port = 0, .cors_origin = ""};
    server_ = HttpServer::Start(http, MakeHttpHandler(*pipeline_)).value();
  }
  ~LettersServer() {
    pipeline_->CancelAll(absl::UnavailableError("the test is over"));
    server_.reset();
    EXPECT_TRUE(pipeline_->AwaitNoStreams(absl::Now() + absl::Seconds(30)));
  }

  int port() const { return std::stoi(server_->address().substr(server_->address().rfind(':') + 1)); }
  HttpReply Get(const std::string& path) { return HttpClient(port()).Get(path); }
  HttpReply Post(const std::string& path, const std::string& body) { return HttpClient(port()).Post(path, body); }

  ServingPipeline& pipeline() { return *pipeline_; }
  HttpServer& server() { return *server_; }
  const Tokenizer& tokenizer() const { return tokenizer_; }

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
  LetterTokenizer tokenizer_;
  FakeModel model_{LetterTokenizer::kVocabSize, {LetterTokenizer::kEnd}};
  std::unique_ptr<FakeModelRunner> runner_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<ChatTemplate> chat_template_;
  std::unique_ptr<ServingPipeline> pipeline_;
  std::unique_ptr<HttpServer> server_;
};

}  // namespace quire
