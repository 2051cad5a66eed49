#include "server/grpc/kserve/infer_request.h"

#include <google/protobuf/util/json_util.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/tokenizer/utf8.h"
#include "engine/types/status_macros.h"
#include "server/grpc/kserve/tensors.h"
#include "server/status_details.h"

namespace quire::kserve {
namespace {

constexpr size_t kMaxParametersBytes = size_t{64} << 10;
constexpr int kDefaultMaxTokens = 16;
constexpr char kParameters[] = "sampling_parameters";

// What the tensors hold, before any of it is looked at.
struct Inputs {
  std::optional<std::string> text;
  std::string parameters = "{}";
  std::optional<bool> exclude_input;
  AnswerForm form;
};

constexpr std::pair<const char*, bool AnswerForm::*> kSwitches[] = {
    {"stream", &AnswerForm::stream},
    {"return_finish_reason", &AnswerForm::finish_reason},
    {"return_num_input_tokens", &AnswerForm::num_input_tokens},
    {"return_num_output_tokens", &AnswerForm::num_output_tokens},
};

absl::StatusOr<std::string> ReadText(const InputTensor& tensor, const std::string* raw) {
  ASSIGN_OR_RETURN(std::string text, ReadBytes(tensor, raw));
  if (const auto invalid = FindInvalidUtf8(text)) {
    return InvalidField(tensor.name(), absl::StrCat("must be UTF-8, and is not from byte ", *invalid, " on"));
  }
  return text;
}

absl::Status ReadTensor(const InputTensor& tensor, const std::string* raw, Inputs& inputs) {
  const std::string& name = tensor.name();
  for (const auto& [switch_name, member] : kSwitches) {
    if (name != switch_name) continue;
    ASSIGN_OR_RETURN(inputs.form.*member, ReadBool(tensor, raw));
    return absl::OkStatus();
  }
  if (name == "text_input") {
    ASSIGN_OR_RETURN(inputs.text, ReadText(tensor, raw));
  } else if (name == kParameters) {
    ASSIGN_OR_RETURN(inputs.parameters, ReadText(tensor, raw));
  } else if (name == "exclude_input_in_output") {
    ASSIGN_OR_RETURN(inputs.exclude_input, ReadBool(tensor, raw));
  } else if (name == "return_logprobs" || name == "return_cumulative_logprob") {
    ASSIGN_OR_RETURN(const bool wanted, ReadBool(tensor, raw));
    if (wanted) return InvalidField(name, "must be false: log-probabilities are not offered over this protocol");
  } else {
    return InvalidField(name, "is not an input of this model; ModelMetadata lists them");
  }
  return absl::OkStatus();
}

absl::StatusOr<Inputs> ReadInputs(const inference::ModelInferRequest& request) {
  const int num_raw = request.raw_input_contents_size();
  if (num_raw > 0 && num_raw != request.inputs_size()) {
    return InvalidField("raw_input_contents", absl::StrCat("must have one entry for each of the ",
                                                           request.inputs_size(), " inputs, got ", num_raw));
  }
  Inputs inputs;
  std::set<std::string> seen;
  for (int i = 0; i < request.inputs_size(); ++i) {
    const InputTensor& tensor = request.inputs(i);
    if (!seen.insert(tensor.name()).second) return InvalidField(tensor.name(), "must be there only once");
    RETURN_IF_ERROR(ReadTensor(tensor, num_raw > 0 ? &request.raw_input_contents(i) : nullptr, inputs));
  }
  return inputs;
}

// Protobuf's JSON takes numbers as texts too, which is how many of the backend's users write them.
absl::StatusOr<v1::SamplingParams> ReadParameters(const std::string& text) {
  if (text.size() > kMaxParametersBytes) {
    return InvalidField(kParameters,
                        absl::StrCat("must be at most ", kMaxParametersBytes, " bytes long, got ", text.size()));
  }
  nlohmann::json json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return InvalidField(kParameters, R"(must be a JSON object, as {"temperature": 0.5})");
  if (const auto stop = json.find("stop"); stop != json.end() && stop->is_string()) *stop = {*stop};
  v1::SamplingParams proto;
  const auto converted = google::protobuf::util::JsonStringToMessage(json.dump(), &proto);
  if (!converted.ok()) {
    return InvalidField(kParameters, absl::StrCat("must be as in SamplingParams: ", std::string(converted.message())));
  }
  if (!proto.has_max_tokens()) proto.set_max_tokens(kDefaultMaxTokens);
  return proto;
}

// The same error, in the words of this protocol.
absl::Status InParameters(const absl::Status& status) {
  constexpr absl::string_view kPrefix = "sampling_params.";
  if (!absl::StartsWith(status.message(), kPrefix)) return status;
  return WithFieldFromMessage(
      absl::InvalidArgumentError(absl::StrCat(kParameters, ".", status.message().substr(kPrefix.size()))));
}

}  // namespace

absl::Status CheckModel(const RequestChecks& checks, const std::string& name, const std::string& version) {
  RETURN_IF_ERROR(checks.Model(name));
  if (version.empty() || version == kModelVersion) return absl::OkStatus();
  return WithReason(absl::NotFoundError(absl::StrCat("version \"", version, "\" of the model is not served here; \"",
                                                     kModelVersion, "\" is")),
                    "MODEL_NOT_FOUND");
}

absl::StatusOr<InferRequest> ParseInferRequest(const RequestParser& parser,
                                               const inference::ModelInferRequest& request) {
  RETURN_IF_ERROR(CheckModel(parser.checks(), request.model_name(), request.model_version()));
  ASSIGN_OR_RETURN(Inputs inputs, ReadInputs(request));
  if (!inputs.text) return InvalidField("text_input", "must be there");
  RETURN_IF_ERROR(parser.checks().PromptBytes("text_input", inputs.text->size()));
  const bool exclude_input = inputs.exclude_input.value_or(inputs.form.stream);
  if (inputs.form.stream && !exclude_input) {
    return InvalidField("exclude_input_in_output", "must be true, or not be there, with stream");
  }
  ASSIGN_OR_RETURN(const v1::SamplingParams proto, ReadParameters(inputs.parameters));
  absl::StatusOr<SamplingParams> sampling = parser.ParseSampling(proto);
  if (!sampling.ok()) return InParameters(sampling.status());
  InferRequest result;
  result.pipeline.generate.sampling = *std::move(sampling);
  result.form = inputs.form;
  if (!exclude_input) result.form.echo = *inputs.text;
  result.pipeline.prompt = *std::move(inputs.text);
  return result;
}

}  // namespace quire::kserve
