#include "server/request_checks.h"

#include <algorithm>
#include <random>

#include "absl/strings/str_cat.h"
#include "server/status_details.h"

namespace quire {
namespace {

constexpr size_t kMaxTokenizeBytes = size_t{1} << 20;
constexpr size_t kMaxDetokenizeTokens = size_t{1} << 20;

}  // namespace

RequestChecks::RequestChecks(const ServedModel& model) : model_(model) {
  size_t longest_token = 1;
  for (TokenId token = 0; token < model.tokenizer->vocab_size(); ++token) {
    longest_token = std::max(longest_token, model.tokenizer->TokenBytes(token, /*keep_special=*/true).size());
  }
  max_prompt_bytes_ = longest_token * static_cast<size_t>(model.max_model_len);
}

absl::Status RequestChecks::Model(const std::string& name) const {
  if (name.empty() || name == model_.name) return absl::OkStatus();
  return WithReason(
      absl::NotFoundError(absl::StrCat("model \"", name, "\" is not served here; \"", model_.name, "\" is")),
      "MODEL_NOT_FOUND");
}

absl::Status RequestChecks::TokenIds(const std::string& field, std::span<const TokenId> ids) const {
  const int vocab_size = model_.tokenizer->vocab_size();
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] >= 0 && ids[i] < vocab_size) continue;
    return InvalidField(absl::StrCat(field, "[", i, "]"),
                        absl::StrCat("must be in [0, ", vocab_size, "), got ", ids[i]));
  }
  return absl::OkStatus();
}

absl::Status RequestChecks::PromptBytes(const std::string& field, size_t bytes) const {
  if (bytes <= max_prompt_bytes_) return absl::OkStatus();
  return InvalidField(field, absl::StrCat("must fit into ", model_.max_model_len, " tokens, the length served, got ",
                                          bytes, " bytes"));
}

absl::Status RequestChecks::TextToTokenize(const std::string& field, std::string_view text) const {
  if (text.size() <= kMaxTokenizeBytes) return absl::OkStatus();
  return InvalidField(field, absl::StrCat("must be at most ", kMaxTokenizeBytes, " bytes long, got ", text.size()));
}

absl::Status RequestChecks::TokensToDetokenize(const std::string& field, std::span<const TokenId> ids) const {
  if (ids.size() <= kMaxDetokenizeTokens) return TokenIds(field, ids);
  return InvalidField(field, absl::StrCat("must be at most ", kMaxDetokenizeTokens, " ids, got ", ids.size()));
}

absl::Status RequestChecks::Sampling(const SamplingParams& params) const {
  return WithFieldFromMessage(Validate(params, model_.tokenizer->vocab_size()));
}

uint64_t DrawSeed() {
  thread_local std::random_device device;
  return (uint64_t{device()} << 32) | device();
}

}  // namespace quire
