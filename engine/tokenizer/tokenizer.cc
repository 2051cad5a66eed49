#include "engine/tokenizer/tokenizer.h"

#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/tokenizer/byte_pair_tokenizer.h"
#include "engine/tokenizer/utf8.h"

namespace quire {

absl::StatusOr<std::unique_ptr<Tokenizer>> MakeTokenizer(TokenizerSpec spec) {
  if (spec.tokens.empty() || spec.tokens.size() > std::numeric_limits<TokenId>::max()) {
    return absl::InvalidArgumentError(
        absl::StrCat("tokenizer.ggml.tokens has ", spec.tokens.size(), " entries; a vocabulary has 1 to 2^31 - 1"));
  }
  if (!spec.kinds.empty() && spec.kinds.size() != spec.tokens.size()) {
    return absl::InvalidArgumentError(absl::StrCat("tokenizer.ggml.token_type has ", spec.kinds.size(),
                                                   " entries, and tokenizer.ggml.tokens ", spec.tokens.size(),
                                                   "; there must be as many, or none"));
  }
  if (spec.model == "gpt2") return MakeBytePairTokenizer(std::move(spec));
  return absl::InvalidArgumentError(
      absl::StrCat("tokenizer.ggml.model \"", spec.model, "\" is not supported; \"gpt2\" (byte-level BPE) is"));
}

absl::StatusOr<std::string> Decode(const Tokenizer& tokenizer, const std::vector<TokenId>& tokens, bool keep_special) {
  std::string bytes;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] < 0 || tokens[i] >= tokenizer.vocab_size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("token_ids[", i, "] is ", tokens[i], "; ids are 0 to ", tokenizer.vocab_size() - 1));
    }
    bytes.append(tokenizer.TokenBytes(tokens[i], keep_special));
  }
  std::string text;
  AppendValidUtf8(bytes, /*at_end=*/true, text);
  return text;
}

}  // namespace quire
