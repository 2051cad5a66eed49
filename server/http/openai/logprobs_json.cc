#include "server/http/openai/logprobs_json.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/tokenizer/utf8.h"

namespace quire {
namespace {

// JSON has no infinity; this is what others write for "impossible".
constexpr float kLowestLogprob = -9999.0f;

float Finite(float logprob) { return std::max(logprob, kLowestLogprob); }

Json WithBytes(const Tokenizer& tokenizer, TokenId token, float logprob) {
  Json bytes = Json::array();
  for (const char byte : tokenizer.TokenBytes(token, /*keep_special=*/true))
    bytes.push_back(static_cast<uint8_t>(byte));
  return {{"token", TokenName(tokenizer, token)}, {"logprob", Finite(logprob)}, {"bytes", std::move(bytes)}};
}

int CountCharacters(std::string_view text) {
  return static_cast<int>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

}  // namespace

std::string TokenName(const Tokenizer& tokenizer, TokenId token) {
  const std::string_view bytes = tokenizer.TokenBytes(token, /*keep_special=*/true);
  if (!FindInvalidUtf8(bytes)) return std::string(bytes);
  std::string name = "bytes:";
  for (const char byte : bytes) absl::StrAppend(&name, "\\x", absl::Hex(static_cast<uint8_t>(byte), absl::kZeroPad2));
  return name;
}

Json ChatLogprobs(const Tokenizer& tokenizer, const std::vector<TokenLogprob>& logprobs) {
  Json list = Json::array();
  for (const TokenLogprob& logprob : logprobs) {
    Json entry = WithBytes(tokenizer, logprob.token, logprob.logprob);
    Json& top = entry["top_logprobs"] = Json::array();
    for (const auto& [token, value] : logprob.top) top.push_back(WithBytes(tokenizer, token, value));
    list.push_back(std::move(entry));
  }
  return list;
}

void CompletionLogprobs::AddFirst(TokenId token) {
  AddName(token);
  values_.push_back(nullptr);
  tops_.push_back(nullptr);
}

void CompletionLogprobs::Add(const TokenLogprob& logprob) {
  AddName(logprob.token);
  values_.push_back(Finite(logprob.logprob));
  Json top = Json::object();
  for (const auto& [token, value] : logprob.top) top[TokenName(tokenizer_, token)] = Finite(value);
  top[TokenName(tokenizer_, logprob.token)] = Finite(logprob.logprob);
  tops_.push_back(std::move(top));
}

void CompletionLogprobs::AddName(TokenId token) {
  tokens_.push_back(TokenName(tokenizer_, token));
  offsets_.push_back(offset_);
  offset_ += CountCharacters(tokenizer_.TokenBytes(token, /*keep_special=*/true));
}

Json CompletionLogprobs::Take() {
  return {{"tokens", std::exchange(tokens_, Json::array())},
          {"token_logprobs", std::exchange(values_, Json::array())},
          {"top_logprobs", std::exchange(tops_, Json::array())},
          {"text_offset", std::exchange(offsets_, Json::array())}};
}

}  // namespace quire
