// Tokenizer: text to token ids and back, as the model file describes it.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "block_manager/ids.h"

namespace quire {

enum class TokenKind : uint8_t { kNormal, kUnknown, kControl, kUserDefined, kUnused, kByte };

// What a model file says about its vocabulary (GGUF: tokenizer.ggml.*).
struct TokenizerSpec {
  std::string model;  // "gpt2"
  std::string pre;    // Name of the pre-tokenizer: "smollm", "gpt-2", "llama-bpe", "qwen2", ...
  std::vector<std::string> tokens;
  std::vector<TokenKind> kinds;                                      // As many as tokens, or none: all normal.
  std::vector<std::string> merges;                                   // "left right", best first.
  TokenId bos = -1, eos = -1, eot = -1, unknown = -1, padding = -1;  // -1: none
  bool add_bos = false, add_eos = false, add_space_prefix = false;
};

struct EncodeOptions {
  bool add_special = false;    // BOS and EOS as the model wants them around a prompt.
  bool parse_special = false;  // Read control tokens' names in the text as those tokens.
};

// Immutable once made; any thread may call it.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // Takes time linear in the text (times log), whatever the text. INVALID_ARGUMENT for invalid UTF-8, with the byte
  // offset.
  virtual absl::StatusOr<std::vector<TokenId>> Encode(std::string_view text, const EncodeOptions& options) const = 0;
  // The raw bytes of one token: not necessarily whole characters. Control tokens have none unless `keep_special`.
  // REQUIRES: 0 <= token < vocab_size().
  virtual std::string_view TokenBytes(TokenId token, bool keep_special) const = 0;

  virtual int vocab_size() const = 0;
  virtual TokenId bos() const = 0;  // -1: none
  virtual TokenId eos() const = 0;
  // Every token that ends a turn: EOS, end-of-turn, and control tokens known to mean it ("<|im_end|>",
  // "<|endoftext|>").
  virtual const std::vector<TokenId>& end_tokens() const = 0;
};

// INVALID_ARGUMENT when the description contradicts itself or names what is not supported.
absl::StatusOr<std::unique_ptr<Tokenizer>> MakeTokenizer(TokenizerSpec spec);

// Whole text of `tokens`; invalid UTF-8 becomes U+FFFD. INVALID_ARGUMENT names an id out of range.
absl::StatusOr<std::string> Decode(const Tokenizer& tokenizer, const std::vector<TokenId>& tokens, bool keep_special);

}  // namespace quire
