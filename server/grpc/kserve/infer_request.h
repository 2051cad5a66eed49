// A ModelInferRequest as the pipeline understands it. Tensors are called and mean what they do in vLLM's backend for
// Triton: text_input and sampling_parameters (JSON) in BYTES, stream, exclude_input_in_output and return_* in BOOL.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "kserve/grpc_service.pb.h"
#include "server/grpc/request_parser.h"
#include "server/serving_pipeline.h"

namespace quire::kserve {

// The one version of the one model that is served.
inline constexpr char kModelVersion[] = "1";

// What the answer is to look like.
struct AnswerForm {
  bool stream = false;    // A response for each piece of text instead of one for the whole.
  std::string echo = {};  // Stands before each sample's text: the prompt, unless it is to be left out.
  bool finish_reason = false;
  bool num_input_tokens = false;
  bool num_output_tokens = false;
};

struct InferRequest {
  PipelineRequest pipeline;
  AnswerForm form;
};

// NOT_FOUND, with what is served, for another name or version; an empty version means any.
absl::Status CheckModel(const RequestChecks& checks, const std::string& name, const std::string& version);

// INVALID_ARGUMENT names the tensor. As in vLLM's backend an answer has 16 tokens unless max_tokens says otherwise.
absl::StatusOr<InferRequest> ParseInferRequest(const RequestParser& parser,
                                               const inference::ModelInferRequest& request);

}  // namespace quire::kserve
