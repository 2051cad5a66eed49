// How /v1/chat/completions puts its answers.
#pragma once

#include <string>
#include <vector>

#include "server/http/answer.h"
#include "server/http/api.h"
#include "server/http/openai/chat_request.h"

namespace quire {

class ChatFormat final : public AnswerFormat {
 public:
  // `id` is the answer's. `api` outlives this object.
  ChatFormat(const HttpApi& api, const std::string& id, const ChatRequest& request);

  void Collect(GenerationDelta news) override;
  Json Whole() override;
  void AppendEvents(GenerationDelta news, std::string& events) override;
  void AppendEnd(std::string& events) override;

 private:
  struct Choice {
    bool begun = false;   // Its first event was made.
    ResponseDelta whole;  // All of it, where it is collected.
  };

  Json LogprobsOf(const ResponseDelta& delta) const;
  void AppendChunk(int index, Json delta, Json logprobs, Json finish_reason, std::string& events) const;

  const HttpApi& api_;
  const AnswerOptions options_;
  const bool logprobs_;
  const Json head_;
  std::vector<Choice> choices_;
  Usage usage_;
};

}  // namespace quire
