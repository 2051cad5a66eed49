// RequestChecks: what a request is refused for before it costs anything, whatever protocol it came by.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "server/serving_pipeline.h"

namespace quire {

// Constant; any thread may call it. `field` is where the value stands in the request, for the message.
class RequestChecks {
 public:
  // `model` outlives this object.
  explicit RequestChecks(const ServedModel& model);

  const ServedModel& model() const { return model_; }

  // An empty name means the model being served. NOT_FOUND says what that is.
  absl::Status Model(const std::string& name) const;
  // INVALID_ARGUMENT for an id that is not in the vocabulary.
  absl::Status TokenIds(const std::string& field, std::span<const TokenId> ids) const;
  // INVALID_ARGUMENT for a prompt so long that no way of cutting it into tokens makes it fit.
  absl::Status PromptBytes(const std::string& field, size_t bytes) const;
  // INVALID_ARGUMENT for more than the text worker reads in well under a second, and as TokenIds.
  absl::Status TextToTokenize(const std::string& field, std::string_view text) const;
  absl::Status TokensToDetokenize(const std::string& field, std::span<const TokenId> ids) const;
  // INVALID_ARGUMENT for the first value out of range (see quire::Validate), with its field.
  absl::Status Sampling(const SamplingParams& params) const;

 private:
  const ServedModel& model_;
  size_t max_prompt_bytes_ = 0;  // The model's length times its longest token.
};

// The seed of a request that brings none.
uint64_t DrawSeed();

}  // namespace quire
