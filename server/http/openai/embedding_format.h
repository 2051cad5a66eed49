// How /v1/embeddings puts its answers: one embedding for each prompt, in their order.
#pragma once

#include <string>
#include <vector>

#include "server/http/answer.h"
#include "server/http/openai/embedding_request.h"

namespace quire {

class EmbeddingFormat final : public AnswerFormat {
 public:
  EmbeddingFormat(std::string model, EmbeddingOptions options, size_t num_prompts)
      : model_(std::move(model)), options_(options), embeddings_(num_prompts) {}

  void Collect(GenerationDelta news) override;
  Json Whole() override;
  // There are no streams of embeddings.
  void AppendEvents(GenerationDelta /*news*/, std::string& /*events*/) override {}
  void AppendEnd(std::string& /*events*/) override {}

 private:
  const std::string model_;
  const EmbeddingOptions options_;
  std::vector<Json> embeddings_;
  int num_prompt_tokens_ = 0;
};

}  // namespace quire
