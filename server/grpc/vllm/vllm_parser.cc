#include "server/grpc/vllm/vllm_parser.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/types/status_macros.h"
#include "server/status_details.h"

namespace quire {
namespace {

namespace pb = ::vllm::grpc::engine;

// A client that does not name its request cannot abort it; one that names it at length makes us keep that.
constexpr size_t kMaxRequestIdBytes = 1024;

absl::Status CheckRequestId(const std::string& id) {
  if (id.size() <= kMaxRequestIdBytes) return absl::OkStatus();
  return InvalidField("request_id",
                      absl::StrCat("must be at most ", kMaxRequestIdBytes, " bytes long, got ", id.size()));
}

// What the protocol has for servers of other kinds.
absl::Status RefuseWhatIsNotServed(const pb::GenerateRequest& request) {
  if (request.has_mm_inputs() || request.extra_mm_inputs_size() > 0 || request.has_media_refs()) {
    return absl::UnimplementedError("mm_inputs, extra_mm_inputs and media_refs must be left out: the model reads text");
  }
  if (request.has_kv_transfer_params() || request.has_kv_transfer_params_json()) {
    return absl::UnimplementedError(
        "kv_transfer_params and kv_transfer_params_json must be left out: this server keeps its KV cache to itself");
  }
  if (request.has_data_parallel_rank() && request.data_parallel_rank() != 0) {
    return InvalidField("data_parallel_rank",
                        absl::StrCat("must be 0, the only one, got ", request.data_parallel_rank()));
  }
  return absl::OkStatus();
}

absl::StatusOr<OutputFormat> ParseFormat(const pb::SamplingParams& proto) {
  using Kind = OutputFormat::Kind;
  switch (proto.constraint_case()) {
    case pb::SamplingParams::kJsonSchema:
      return OutputFormat{
          .kind = Kind::kJsonSchema, .source = proto.json_schema(), .field = "sampling_params.json_schema"};
    case pb::SamplingParams::kRegex:
      return OutputFormat{.kind = Kind::kRegex, .source = proto.regex(), .field = "sampling_params.regex"};
    case pb::SamplingParams::kGrammar:
      return OutputFormat{.kind = Kind::kGrammar, .source = proto.grammar(), .field = "sampling_params.grammar"};
    case pb::SamplingParams::kStructuralTag:
      return OutputFormat{
          .kind = Kind::kStructuralTag, .source = proto.structural_tag(), .field = "sampling_params.structural_tag"};
    case pb::SamplingParams::kJsonObject:
      return OutputFormat{.kind = proto.json_object() ? Kind::kJsonObject : Kind::kFree};
    case pb::SamplingParams::kChoice:
      if (proto.choice().choices().empty()) return InvalidField("sampling_params.choice.choices", "must not be empty");
      return OutputFormat{.kind = Kind::kChoice,
                          .choices = {proto.choice().choices().begin(), proto.choice().choices().end()},
                          .field = "sampling_params.choice.choices"};
    case pb::SamplingParams::CONSTRAINT_NOT_SET:
      return OutputFormat();
  }
  return OutputFormat();
}

// The last tokens of a prompt, as many as are asked for; -1 is as many as leave room for one new token.
absl::Status Truncate(int how_many, int max_model_len, std::vector<TokenId>& prompt) {
  if (how_many == -1) how_many = max_model_len - 1;
  if (how_many < 1) {
    return InvalidField("sampling_params.truncate_prompt_tokens",
                        absl::StrCat("must be at least 1, or -1, got ", how_many));
  }
  const size_t kept = std::min(prompt.size(), static_cast<size_t>(how_many));
  prompt.erase(prompt.begin(), prompt.end() - static_cast<ptrdiff_t>(kept));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<PipelineRequest> VllmParser::Parse(const pb::GenerateRequest& request) const {
  RETURN_IF_ERROR(CheckRequestId(request.request_id()));
  RETURN_IF_ERROR(RefuseWhatIsNotServed(request));
  PipelineRequest result;
  ASSIGN_OR_RETURN(result.prompt, ParsePrompt(request));
  ASSIGN_OR_RETURN(result.output_format, ParseFormat(request.sampling_params()));
  SamplingParams& sampling = result.generate.sampling;
  ASSIGN_OR_RETURN(sampling, ParseSampling(request.sampling_params()));
  if (const auto* tokens = std::get_if<std::vector<TokenId>>(&result.prompt)) {
    // A prompt that leaves no room at all is for the engine to refuse.
    const int room = std::max(1, model_.max_model_len - static_cast<int>(tokens->size()));
    sampling.max_tokens = std::min(sampling.max_tokens, room);
    sampling.min_tokens = std::min(sampling.min_tokens, room);
  }
  return result;
}

absl::StatusOr<PipelineRequest> VllmParser::Parse(const pb::EmbedRequest& request) const {
  RETURN_IF_ERROR(CheckRequestId(request.request_id()));
  PipelineRequest result;
  ASSIGN_OR_RETURN(result.prompt, ParseTokens(request.tokenized()));
  result.prompt_field = "tokenized.input_ids";
  result.generate.embed = true;
  return result;
}

absl::StatusOr<std::vector<TokenId>> VllmParser::ParseTokens(const pb::TokenizedInput& input) const {
  if (input.input_ids().empty()) return InvalidField("tokenized.input_ids", "must not be empty");
  std::vector<TokenId> tokens(input.input_ids().begin(), input.input_ids().end());
  RETURN_IF_ERROR(checks_.TokenIds("tokenized.input_ids", tokens));
  return tokens;
}

absl::StatusOr<Prompt> VllmParser::ParsePrompt(const pb::GenerateRequest& request) const {
  const pb::SamplingParams& sampling = request.sampling_params();
  switch (request.input_case()) {
    case pb::GenerateRequest::kTokenized: {
      ASSIGN_OR_RETURN(std::vector<TokenId> tokens, ParseTokens(request.tokenized()));
      if (sampling.has_truncate_prompt_tokens()) {
        RETURN_IF_ERROR(Truncate(sampling.truncate_prompt_tokens(), model_.max_model_len, tokens));
      }
      return tokens;
    }
    case pb::GenerateRequest::kText:
      if (sampling.has_truncate_prompt_tokens() || sampling.has_prompt_logprobs()) {
        return absl::UnimplementedError(
            "sampling_params.truncate_prompt_tokens and prompt_logprobs need the prompt as `tokenized`");
      }
      RETURN_IF_ERROR(checks_.PromptBytes("text", request.text().size()));
      return request.text();
    case pb::GenerateRequest::INPUT_NOT_SET:
      break;
  }
  return InvalidField("input", "must be set: either tokenized or text");
}

absl::StatusOr<SamplingParams> VllmParser::ParseSampling(const pb::SamplingParams& proto) const {
  SamplingParams params;
  if (proto.has_temperature()) params.temperature = proto.temperature();
  if (proto.top_p() != 0) params.top_p = proto.top_p();
  params.top_k = static_cast<int>(std::min<uint32_t>(proto.top_k(), model_.tokenizer->vocab_size()));
  params.min_p = proto.min_p();
  params.frequency_penalty = proto.frequency_penalty();
  params.presence_penalty = proto.presence_penalty();
  if (proto.repetition_penalty() != 0) params.repetition_penalty = proto.repetition_penalty();
  params.seed = proto.has_seed() ? static_cast<uint64_t>(proto.seed()) : DrawSeed();
  if (proto.has_max_tokens()) {
    if (proto.max_tokens() == 0) return InvalidField("sampling_params.max_tokens", "must be at least 1, got 0");
    params.max_tokens = static_cast<int>(std::min<uint32_t>(proto.max_tokens(), model_.max_model_len));
  }
  params.min_tokens = static_cast<int>(std::min<uint32_t>(proto.min_tokens(), model_.max_model_len));
  params.stop.assign(proto.stop().begin(), proto.stop().end());
  params.stop_token_ids.assign(proto.stop_token_ids().begin(), proto.stop_token_ids().end());
  params.ignore_eos = proto.ignore_eos();
  if (proto.n() != 0) params.n = static_cast<int>(std::min<uint32_t>(proto.n(), INT32_MAX));
  params.logit_bias.assign(proto.logit_bias().begin(), proto.logit_bias().end());
  // A map has no order, and sums of floats do: the same request must give the same logits.
  std::sort(params.logit_bias.begin(), params.logit_bias.end());
  const auto set_logprobs = [](const char* field, int value, int& target) {
    if (value < 0)
      return InvalidField(field, absl::StrCat("must be at least 0; all of the vocabulary is not given, got ", value));
    target = value;
    return absl::OkStatus();
  };
  if (proto.has_logprobs()) {
    RETURN_IF_ERROR(set_logprobs("sampling_params.logprobs", proto.logprobs(), params.logprobs));
  }
  if (proto.has_prompt_logprobs()) {
    RETURN_IF_ERROR(set_logprobs("sampling_params.prompt_logprobs", proto.prompt_logprobs(), params.prompt_logprobs));
  }
  RETURN_IF_ERROR(checks_.Sampling(params));
  return params;
}

}  // namespace quire
