// A tokenizer small enough to read: tokens 0 to 25 are the letters a to z, 26 is a space, 27 the two bytes of "é", 28 and 29
// its first and second byte, 30 ends the text.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/tokenizer/tokenizer.h"

namespace quire {

class LetterTokenizer : public Tokenizer {
 public:
  static constexpr TokenId kSpace = 26, kAccent = 27, kAccentFirst = 28, kAccentSecond = 29, kEnd = 30;
  static constexpr int kVocabSize = 31;

  absl::StatusOr<std::vector<TokenId>> Encode(std::string_view text, const EncodeOptions& /*options*/) const override {
    std::vector<TokenId> tokens;
    for (const char c : text) {
      if (c == '!') return absl::InvalidArgumentError("this text has an exclamation mark");
      if (c == '?') throw std::runtime_error("question");
      tokens.push_back(c >= 'a' && c <= 'z' ? c - 'a' : kSpace);
    }
    return tokens;
  }
  std::string_view TokenBytes(TokenId token, bool keep_special) const override {
    static const std::vector<std::string> bytes = [] {
      std::vector<std::string> result;
      for (char c = 'a'; c <= 'z'; ++c) result.push_back(std::string(1, c));
      for (const char* rest : {" ", "\xC3\xA9", "\xC3", "\xA9", "<end>"}) result.push_back(rest);
      return result;
    }();
    return token == kEnd && !keep_special ? std::string_view() : bytes[token];
  }
  int vocab_size() const override { return kVocabSize; }
  TokenId bos() const override { return -1; }
  TokenId eos() const override { return kEnd; }
  const std::vector<TokenId>& end_tokens() const override {
    static const std::vector<TokenId> ends = {kEnd};
    return ends;
  }
};

}  // namespace quire
