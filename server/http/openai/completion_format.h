// How /v1/completions puts its answers: the choices of all prompts in one list, n for each prompt.
#pragma once

#include <string>
#include <vector>

#include "server/http/answer.h"
#include "server/http/api.h"
#include "server/http/openai/completion_request.h"

namespace quire {

class CompletionFormat final : public AnswerFormat {
 public:
  // `id` is the answer's. `api` outlives this object.
  CompletionFormat(const HttpApi& api, const std::string& id, CompletionRequest request);

  bool stream() const { return request_.options.stream; }

  void Collect(GenerationDelta news) override;
  Json Whole() override;
  void AppendEvents(GenerationDelta news, std::string& events) override;
  void AppendEnd(std::string& events) override;

 private:
  struct Choice {
    bool begun = false;   // The prompt was repeated, where it is to be.
    int text_offset = 0;  // Characters so far.
    ResponseDelta whole;  // All of it, where it is collected.
  };

  int num_samples() const { return request_.generate.sampling.n; }
  bool logprobs() const { return request_.generate.sampling.logprobs >= 0; }
  // Keeps for later what is not one choice's alone, and drops what is not to be told.
  void Note(GenerationDelta& news);
  Json ChoiceJson(int index, const ResponseDelta& delta);

  const HttpApi& api_;
  const CompletionRequest request_;  // Its prompts without tokens and text.
  const Json head_;
  std::vector<Choice> choices_;
  std::vector<std::vector<TokenLogprob>> prompt_logprobs_;  // Of each prompt.
  Usage usage_;
};

}  // namespace quire
