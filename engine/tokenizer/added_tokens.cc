#include "engine/tokenizer/added_tokens.h"

#include "kernels/check.h"

namespace quire {
namespace {

uint64_t Edge(uint32_t node, char byte) { return uint64_t{node} << 8 | static_cast<uint8_t>(byte); }

}  // namespace

AddedTokens::AddedTokens() : token_at_{kNone} {}

void AddedTokens::Add(std::string_view text, TokenId token) {
  QUIRE_CHECK(!text.empty() && text.size() <= kMaxLength);
  starts_[static_cast<uint8_t>(text[0])] = true;
  uint32_t node = 0;
  for (const char byte : text) {
    const auto [edge, is_new] = edges_.try_emplace(Edge(node, byte), token_at_.size());
    if (is_new) token_at_.push_back(kNone);
    node = edge->second;
  }
  if (token_at_[node] == kNone) token_at_[node] = token;
}

std::optional<AddedTokens::Match> AddedTokens::Find(std::string_view text, size_t begin) const {
  for (; begin < text.size(); ++begin) {
    if (!starts_[static_cast<uint8_t>(text[begin])]) continue;
    if (const auto match = MatchAt(text, begin)) return match;
  }
  return std::nullopt;
}

std::optional<AddedTokens::Match> AddedTokens::MatchAt(std::string_view text, size_t begin) const {
  std::optional<Match> longest;
  uint32_t node = 0;
  for (size_t i = begin; i < text.size(); ++i) {
    const auto edge = edges_.find(Edge(node, text[i]));
    if (edge == edges_.end()) break;
    node = edge->second;
    if (token_at_[node] != kNone) longest = Match{begin, i + 1, token_at_[node]};
  }
  return longest;
}

}  // namespace quire
