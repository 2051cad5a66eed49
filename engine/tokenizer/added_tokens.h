// Tokens that are found in text before it is cut into words: control tokens by their names, and a vocabulary's own
// additions.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "block_manager/ids.h"

namespace quire {

// Immutable once filled; any thread may search.
class AddedTokens {
 public:
  struct Match {
    size_t begin, end;
    TokenId token;
  };

  // Longer texts are refused: a search costs at most this much for each byte of text.
  static constexpr size_t kMaxLength = 512;

  AddedTokens();
  // REQUIRES: 0 < text.size() <= kMaxLength. The first of two tokens with one text stays.
  void Add(std::string_view text, TokenId token);

  // The first place at or after `begin` where a token's text stands, and the longest of those that stand there.
  std::optional<Match> Find(std::string_view text, size_t begin) const;

 private:
  static constexpr TokenId kNone = -1;

  std::optional<Match> MatchAt(std::string_view text, size_t begin) const;

  // A trie: node 0 is the root; an edge is keyed by its node and its byte.
  std::vector<TokenId> token_at_;  // By node: whose text ends there.
  absl::flat_hash_map<uint64_t, uint32_t> edges_;
  bool starts_[256] = {};  // Bytes with an edge from the root, since most bytes of text have none.
};

}  // namespace quire
