// The HTTP front over the pipeline of letters.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/http/http_server.h"
#include "server/http/routes.h"
#include "tests/server/http/http_client.h"
#include "tests/server/letters_pipeline.h"

namespace quire {

class LettersServer {
 public:
  static constexpr int kMaxModelLen = LettersPipeline::kMaxModelLen;

  explicit LettersServer(TenantDirectory tenants = {})
      : letters_(
            ChatTemplate::Make("{% for m in messages %}{{ m.role }} {{ m.content }} {% endfor %}assistant ", "", "<end>")
                .value(),
            [] {}, std::move(tenants)) {
    const HttpServerOptions http{.host = "127.0.0.1", .port = 0, .cors_origin = ""};
    server_ = HttpServer::Start(http, MakeHttpHandler(*letters_), NoteHttpRefusals(*letters_)).value();
  }
  ~LettersServer() {
    letters_->CancelAll(absl::UnavailableError("the test is over"));
    server_.reset();
    EXPECT_TRUE(letters_->AwaitNoStreams(absl::Now() + absl::Seconds(30)));
  }

  int port() const { return std::stoi(server_->address().substr(server_->address().rfind(':') + 1)); }
  HttpReply Get(const std::string& path) { return HttpClient(port()).Get(path); }
  HttpReply Post(const std::string& path, const std::string& body) { return HttpClient(port()).Post(path, body); }

  ServingPipeline& pipeline() { return *letters_; }
  HttpServer& server() { return *server_; }

  EngineStats Stats() { return letters_.Stats(); }
  std::string ExpectedText(const std::string& text, int max_tokens) const {
    return letters_.ExpectedText(text, max_tokens);
  }

 private:
  LettersPipeline letters_;
  std::unique_ptr<HttpServer> server_;
};

}  // namespace quire
