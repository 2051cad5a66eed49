#include "server/bench/load/sharegpt.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/status/status.h"

namespace quire {
namespace {

using nlohmann::json;

constexpr int kMinTokens = 4;
constexpr int kMaxPromptTokens = 1024;
constexpr int kMaxTotalTokens = 2048;
constexpr size_t kBytesPerToken = 4;

bool WithinLimits(int prompt_tokens, int answer_tokens) {
  return prompt_tokens >= kMinTokens && answer_tokens >= kMinTokens && prompt_tokens <= kMaxPromptTokens &&
         prompt_tokens + answer_tokens <= kMaxTotalTokens;
}

int EstimateTokens(const std::string& text) {
  return static_cast<int>(std::min<size_t>(text.size() / kBytesPerToken, 1 << 20));
}

// The member `key` of `object` if it is a string, else nullptr.
const std::string* StringMember(const json& object, const char* key) {
  const auto member = object.find(key);
  return member == object.end() ? nullptr : member->get_ptr<const std::string*>();
}

// The words of message `index` if `speaker` (or its other name) said them.
const std::string* Words(const json& messages, size_t index, const char* speaker, const char* other_name) {
  if (index >= messages.size() || !messages[index].is_object()) return nullptr;
  const std::string* from = StringMember(messages[index], "from");
  if (from == nullptr || (*from != speaker && *from != other_name)) return nullptr;
  return StringMember(messages[index], "value");
}

std::vector<ShareGptTurn> TurnsOf(const json& conversation, int max_turns) {
  std::vector<ShareGptTurn> turns;
  const auto messages = conversation.find("conversations");
  if (messages == conversation.end() || !messages->is_array()) return turns;
  for (size_t i = 0; static_cast<int>(turns.size()) < max_turns; i += 2) {
    const std::string* prompt = Words(*messages, i, "human", "user");
    const std::string* answer = Words(*messages, i + 1, "gpt", "assistant");
    if (prompt == nullptr || answer == nullptr) break;
    if (!WithinLimits(EstimateTokens(*prompt), EstimateTokens(*answer))) break;
    turns.push_back({*prompt, EstimateTokens(*answer)});
  }
  return turns;
}

int DrawLogNormal(std::mt19937_64& random, double mean) {
  // Most prompts are short and some are very long; 1.1 spreads quartiles about as the published histograms do.
  constexpr double kSigma = 1.1;
  std::lognormal_distribution<double> tokens(std::log(mean) - kSigma * kSigma / 2, kSigma);
  return static_cast<int>(std::min(tokens(random), 1e6));
}

}  // namespace

absl::StatusOr<std::vector<std::vector<ShareGptTurn>>> ReadShareGpt(std::istream& file, int max_turns) {
  std::vector<std::vector<ShareGptTurn>> conversations;
  // The parser offers each conversation as it ends, and drops it when the answer is false.
  const auto take = [&](int depth, json::parse_event_t event, json& value) {
    if (depth != 1 || event != json::parse_event_t::object_end) return true;
    if (std::vector<ShareGptTurn> turns = TurnsOf(value, max_turns); !turns.empty()) {
      conversations.push_back(std::move(turns));
    }
    return false;
  };
  const json rest = json::parse(file, take, /*allow_exceptions=*/false);
  if (!rest.is_array()) return absl::InvalidArgumentError("not a JSON array of conversations");
  if (conversations.empty()) {
    return absl::InvalidArgumentError(
        "has no conversation that begins with {\"from\": \"human\", \"value\": ...} and an answer from \"gpt\", both "
        "of "
        "ordinary length");
  }
  return conversations;
}

TurnLengths DrawShareGptLengths(std::mt19937_64& random) {
  constexpr double kMeanPrompt = 161;
  constexpr double kMeanAnswer = 338;
  TurnLengths lengths;
  do {
    lengths = {DrawLogNormal(random, kMeanPrompt), DrawLogNormal(random, kMeanAnswer)};
  } while (!WithinLimits(lengths.prompt_tokens, lengths.answer_tokens));
  return lengths;
}

}  // namespace quire
