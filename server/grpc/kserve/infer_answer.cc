#include "server/grpc/kserve/infer_answer.h"

#include <utility>

#include "server/grpc/kserve/tensors.h"

namespace quire::kserve {
namespace {

const char* NameOf(FinishReason reason) {
  switch (reason) {
    case FinishReason::kNone:
      return "";
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
  }
  return "";
}

}  // namespace

InferAnswer::InferAnswer(const inference::ModelInferRequest& request, AnswerForm form, int num_samples)
    : id_(request.id()),
      model_name_(request.model_name()),
      form_(std::move(form)),
      text_(static_cast<size_t>(num_samples), form_.echo),
      finish_reasons_(static_cast<size_t>(num_samples)),
      num_tokens_(static_cast<size_t>(num_samples)) {}

void InferAnswer::Add(ResponseDelta delta) {
  const SequenceOutput& output = delta.output;
  const auto index = static_cast<size_t>(output.index);
  text_[index] += delta.text;
  num_tokens_[index] += static_cast<uint32_t>(output.tokens.size());
  if (output.finish_reason != FinishReason::kNone) finish_reasons_[index] = NameOf(output.finish_reason);
  added_ = true;
  if (!output.last) return;
  over_ = true;
  status_ = output.status;
  prompt_tokens_ = static_cast<uint32_t>(output.usage.prompt_tokens);
}

void InferAnswer::Fail(absl::Status status) {
  over_ = true;
  status_ = std::move(status);
}

void InferAnswer::Take(inference::ModelStreamInferResponse& response) {
  if (status_.ok()) {
    Take(*response.mutable_infer_response());
  } else {
    response.set_error_message(std::string(status_.message()));
    Identify(*response.mutable_infer_response());
  }
}

void InferAnswer::Take(inference::ModelInferResponse& response) {
  Identify(response);
  AddBytesOutput("text_output", text_, response);
  if (form_.finish_reason) AddBytesOutput("finish_reason", finish_reasons_, response);
  if (form_.num_output_tokens) AddUint32Output("num_output_tokens", num_tokens_, response);
  if (form_.num_input_tokens && over_) AddUint32Output("num_input_tokens", {prompt_tokens_}, response);
  Forget();
}

void InferAnswer::Identify(inference::ModelInferResponse& response) const {
  response.set_id(id_);
  response.set_model_name(model_name_);
  response.set_model_version(kModelVersion);
  (*response.mutable_parameters())["triton_final_response"].set_bool_param(over_);
}

void InferAnswer::Forget() {
  for (std::string& text : text_) text.clear();
  for (std::string& reason : finish_reasons_) reason.clear();
  for (uint32_t& count : num_tokens_) count = 0;
  added_ = false;
}

}  // namespace quire::kserve
