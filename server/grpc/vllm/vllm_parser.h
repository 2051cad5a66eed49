// Requests of vllm.grpc.engine to what the pipeline understands. Everything that can be told from the message alone is
// checked here, before the request costs anything.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "server/request_checks.h"
#include "server/serving_pipeline.h"
#include "smg/vllm_engine.pb.h"

namespace quire {

// Constant; any thread may call it. The protocol's defaults: 0 is unset for top_p, repetition_penalty and n; a
// temperature or max_tokens that is not there is 1 and as many as fit. Unlike quire.v1, it takes more max_tokens than
// fit to mean as many as do.
class VllmParser {
 public:
  // `model` outlives the parser.
  explicit VllmParser(const ServedModel& model) : model_(model), checks_(model) {}

  // INVALID_ARGUMENT names the field at fault; UNIMPLEMENTED, what this server cannot do.
  absl::StatusOr<PipelineRequest> Parse(const ::vllm::grpc::engine::GenerateRequest& request) const;
  absl::StatusOr<PipelineRequest> Parse(const ::vllm::grpc::engine::EmbedRequest& request) const;

 private:
  absl::StatusOr<std::vector<TokenId>> ParseTokens(const ::vllm::grpc::engine::TokenizedInput& input) const;
  absl::StatusOr<Prompt> ParsePrompt(const ::vllm::grpc::engine::GenerateRequest& request) const;
  absl::StatusOr<SamplingParams> ParseSampling(const ::vllm::grpc::engine::SamplingParams& proto) const;

  const ServedModel& model_;
  const RequestChecks checks_;
};

}  // namespace quire
