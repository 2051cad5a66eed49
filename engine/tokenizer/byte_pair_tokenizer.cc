#include "engine/tokenizer/byte_pair_tokenizer.h"

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "engine/tokenizer/added_tokens.h"
#include "engine/tokenizer/byte_pair_merges.h"
#include "engine/tokenizer/split_pattern.h"
#include "engine/tokenizer/utf8.h"
#include "engine/types/status_macros.h"
#include "engine/types/string_view.h"
#include "kernels/check.h"

namespace quire {
namespace {

constexpr TokenId kNoToken = -1;

// Control tokens that end a turn in some family of models, whether or not a file calls them its EOS or EOT.
constexpr std::string_view kEndOfTurn[] = {
    "<|im_end|>",
    "<|endoftext|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end_of_text|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "</s>",
    "<end_of_turn>",
    "<|eot|>",
    "<EOT>",
    "<|end_of_turn|>",
    "<|END_OF_TURN_TOKEN|>",
};

// How GPT-2 spells bytes in its vocabulary: printable ones of Latin-1 as themselves, the others as U+0100 and on.
class ByteSpelling {
 public:
  ByteSpelling() {
    int num_unprintable = 0;
    for (int byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
      const int code_point = printable ? byte : 0x100 + num_unprintable++;
      byte_of_[code_point] = byte;
      spelling_[byte] = code_point < 0x80 ? std::string(1, static_cast<char>(code_point))
                                          : std::string{static_cast<char>(0xC0 | code_point >> 6),
                                                        static_cast<char>(0x80 | (code_point & 0x3F))};
    }
  }

  const std::string& Spell(uint8_t byte) const { return spelling_[byte]; }

  // The bytes that `token` spells; nothing if it holds a character that spells none.
  std::optional<std::string> Read(std::string_view token) const {
    std::string bytes;
    for (size_t i = 0; i < token.size(); ++i) {
      int code_point = static_cast<uint8_t>(token[i]);
      if (code_point >= 0x80) {
        if ((code_point & 0xE0) != 0xC0 || i + 1 == token.size()) return std::nullopt;
        code_point = (code_point & 0x1F) << 6 | (static_cast<uint8_t>(token[++i]) & 0x3F);
      }
      if (code_point >= kNumCodePoints || byte_of_[code_point] < 0) return std::nullopt;
      bytes.push_back(static_cast<char>(byte_of_[code_point]));
    }
    return bytes;
  }

 private:
  static constexpr int kNumCodePoints = 0x100 + 68;  // 68 bytes are not printable.
  std::array<std::string, 256> spelling_;
  std::array<int16_t, kNumCodePoints> byte_of_ = [] {
    std::array<int16_t, kNumCodePoints> none;
    none.fill(-1);
    return none;
  }();
};

bool IsAdded(TokenKind kind) {
  return kind == TokenKind::kControl || kind == TokenKind::kUnknown || kind == TokenKind::kUserDefined;
}

class BytePairTokenizer : public Tokenizer {
 public:
  explicit BytePairTokenizer(SplitPattern split) : split_(std::move(split)) {}

  // Fills the tables. Called once, before anything else.
  absl::Status Init(TokenizerSpec spec);

  absl::StatusOr<std::vector<TokenId>> Encode(std::string_view text, const EncodeOptions& options) const override;
  std::string_view TokenBytes(TokenId token, bool keep_special) const override;
  int vocab_size() const override { return static_cast<int>(bytes_.size()); }
  TokenId bos() const override { return bos_; }
  TokenId eos() const override { return eos_; }
  const std::vector<TokenId>& end_tokens() const override { return end_tokens_; }

 private:
  using Vocabulary = absl::flat_hash_map<std::string, TokenId>;

  absl::Status AddTokens(TokenizerSpec& spec, Vocabulary& vocabulary);
  absl::Status AddAddedToken(const std::string& text, TokenId token, TokenKind kind);
  absl::Status AddMerges(const std::vector<std::string>& merges, const Vocabulary& vocabulary);
  absl::Status SetSpecialTokens(const TokenizerSpec& spec);
  // Encodes what stands between added tokens.
  absl::Status EncodePlain(std::string_view text, std::vector<TokenId>& ids) const;

  SplitPattern split_;
  std::vector<std::string> bytes_;  // By token: what it stands for in text.
  std::vector<bool> has_text_;      // By token: false for those that only tell the model something.
  std::array<TokenId, 256> token_of_byte_;
  BytePairMerges merges_;
  AddedTokens user_defined_;
  AddedTokens all_added_;  // Control tokens too.
  // Words that are tokens, by their bytes; empty unless the pre-tokenizer prefers them whole.
  Vocabulary whole_words_;
  TokenId bos_ = kNoToken, eos_ = kNoToken;
  bool add_bos_ = false, add_eos_ = false;
  std::vector<TokenId> end_tokens_;
};

absl::Status BytePairTokenizer::Init(TokenizerSpec spec) {
  Vocabulary vocabulary;
  RETURN_IF_ERROR(AddTokens(spec, vocabulary));
  RETURN_IF_ERROR(AddMerges(spec.merges, vocabulary));
  return SetSpecialTokens(spec);
}

// Fills the tables by token and `vocabulary`, by spelling, of the tokens that words are made of.
absl::Status BytePairTokenizer::AddTokens(TokenizerSpec& spec, Vocabulary& vocabulary) {
  const ByteSpelling spelling;
  for (size_t i = 0; i < spec.tokens.size(); ++i) {
    const TokenId token = static_cast<TokenId>(i);
    const TokenKind kind = spec.kinds.empty() ? TokenKind::kNormal : spec.kinds[i];
    std::string& text = spec.tokens[i];
    has_text_.push_back(kind == TokenKind::kNormal || kind == TokenKind::kUserDefined);
    if (kind == TokenKind::kByte) {
      return absl::InvalidArgumentError(absl::StrCat("tokenizer.ggml.token_type: token ", i,
                                                     " is of kind byte, which belongs to SentencePiece models"));
    }
    if (kind != TokenKind::kNormal) {
      if (IsAdded(kind)) RETURN_IF_ERROR(AddAddedToken(text, token, kind));
      bytes_.push_back(std::move(text));
      continue;
    }
    std::optional<std::string> bytes = spelling.Read(text);
    if (bytes && split_.prefers_whole_words()) whole_words_.try_emplace(*bytes, token);
    bytes_.push_back(bytes ? *std::move(bytes) : text);
    // Of two tokens with one spelling the first is the one that text becomes; both can be decoded.
    vocabulary.try_emplace(std::move(text), token);
  }
  for (int byte = 0; byte < 256; ++byte) {
    const auto found = vocabulary.find(spelling.Spell(byte));
    token_of_byte_[byte] = found == vocabulary.end() ? kNoToken : found->second;
    if (token_of_byte_[byte] == kNoToken && byte >= ' ' && byte <= '~') {
      return absl::InvalidArgumentError(absl::StrCat("tokenizer.ggml.tokens: no token for the byte ", byte,
                                                     "; a byte-level vocabulary has one for each printable byte"));
    }
  }
  return absl::OkStatus();
}

absl::Status BytePairTokenizer::AddAddedToken(const std::string& text, TokenId token, TokenKind kind) {
  if (text.size() > AddedTokens::kMaxLength) {
    return absl::InvalidArgumentError(absl::StrCat("tokenizer.ggml.tokens: the added token ", token, " has ",
                                                   text.size(), " bytes; at most ", AddedTokens::kMaxLength,
                                                   " can be"));
  }
  if (text.empty()) return absl::OkStatus();  // It stands nowhere in a text.
  all_added_.Add(text, token);
  if (kind == TokenKind::kUserDefined) user_defined_.Add(text, token);
  return absl::OkStatus();
}

absl::Status BytePairTokenizer::AddMerges(const std::vector<std::string>& merges, const Vocabulary& vocabulary) {
  merges_.Reserve(merges.size());
  for (size_t i = 0; i < merges.size(); ++i) {
    const std::string& merge = merges[i];
    const size_t space = merge.find(' ');
    const auto token = [&](const std::string& text) {
      const auto found = vocabulary.find(text);
      return found == vocabulary.end() ? kNoToken : found->second;
    };
    const bool two = space != std::string::npos && merge.find(' ', space + 1) == std::string::npos;
    const TokenId left = two ? token(merge.substr(0, space)) : kNoToken;
    const TokenId right = two ? token(merge.substr(space + 1)) : kNoToken;
    const TokenId merged = two ? token(merge.substr(0, space) + merge.substr(space + 1)) : kNoToken;
    if (left == kNoToken || right == kNoToken || merged == kNoToken) {
      return absl::InvalidArgumentError(
          absl::StrCat("tokenizer.ggml.merges: merge ", i, ", \"", merge.substr(0, 80),
                       "\", is not two tokens with a space between that together spell a normal token"));
    }
    merges_.Add(left, right, merged);
  }
  return absl::OkStatus();
}

absl::Status BytePairTokenizer::SetSpecialTokens(const TokenizerSpec& spec) {
  const std::pair<const char*, TokenId> ids[] = {
      {"bos", spec.bos}, {"eos", spec.eos}, {"eot", spec.eot}, {"unknown", spec.unknown}, {"padding", spec.padding}};
  for (const auto& [name, id] : ids) {
    if (id < kNoToken || id >= vocab_size()) {
      return absl::InvalidArgumentError(absl::StrCat("tokenizer.ggml.", name, "_token_id is ", id,
                                                     ", and the vocabulary has ", vocab_size(), " tokens"));
    }
  }
  bos_ = spec.bos;
  eos_ = spec.eos;
  if (spec.add_space_prefix) {
    return absl::InvalidArgumentError("tokenizer.ggml.add_space_prefix is not supported with a byte-level vocabulary");
  }
  add_bos_ = spec.add_bos;
  add_eos_ = spec.add_eos;
  if (add_bos_ && bos_ == kNoToken) {
    return absl::InvalidArgumentError("tokenizer.ggml.add_bos_token is set, and there is no bos_token_id");
  }
  if (add_eos_ && eos_ == kNoToken) {
    return absl::InvalidArgumentError("tokenizer.ggml.add_eos_token is set, and there is no eos_token_id");
  }
  for (TokenId token = 0; token < vocab_size(); ++token) {
    const bool known = !spec.kinds.empty() && spec.kinds[token] == TokenKind::kControl &&
                       std::find(std::begin(kEndOfTurn), std::end(kEndOfTurn), bytes_[token]) != std::end(kEndOfTurn);
    if (known || token == spec.eos || token == spec.eot) end_tokens_.push_back(token);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<TokenId>> BytePairTokenizer::Encode(std::string_view text,
                                                               const EncodeOptions& options) const {
  if (text.size() > std::numeric_limits<int32_t>::max()) {
    return absl::InvalidArgumentError(absl::StrCat("the text has ", text.size(), " bytes; at most 2^31 - 1 can be"));
  }
  if (const std::optional<size_t> offset = FindInvalidUtf8(text)) {
    return absl::InvalidArgumentError(absl::StrCat("the text is not valid UTF-8 at byte ", *offset));
  }
  std::vector<TokenId> ids;
  if (options.add_special && add_bos_) ids.push_back(bos_);
  const AddedTokens& added = options.parse_special ? all_added_ : user_defined_;
  size_t begin = 0;
  while (const auto match = added.Find(text, begin)) {
    RETURN_IF_ERROR(EncodePlain(text.substr(begin, match->begin - begin), ids));
    ids.push_back(match->token);
    begin = match->end;
  }
  RETURN_IF_ERROR(EncodePlain(text.substr(begin), ids));
  if (options.add_special && add_eos_) ids.push_back(eos_);
  return ids;
}

absl::Status BytePairTokenizer::EncodePlain(std::string_view text, std::vector<TokenId>& ids) const {
  if (text.empty()) return absl::OkStatus();
  BytePairMerges::Workspace workspace;
  std::vector<TokenId> symbols;
  return split_.Split(text, [&](std::string_view word) {
    if (split_.prefers_whole_words()) {
      if (const auto whole = whole_words_.find(AbslView(word)); whole != whole_words_.end()) {
        ids.push_back(whole->second);
        return;
      }
    }
    symbols.clear();
    for (const char byte : word) {
      const TokenId token = token_of_byte_[static_cast<uint8_t>(byte)];
      if (token != kNoToken) symbols.push_back(token);
    }
    merges_.Apply(symbols, workspace, ids);
  });
}

std::string_view BytePairTokenizer::TokenBytes(TokenId token, bool keep_special) const {
  QUIRE_CHECK(token >= 0 && token < vocab_size());
  if (!has_text_[token] && !keep_special) return {};
  return bytes_[token];
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> MakeBytePairTokenizer(TokenizerSpec spec) {
  ASSIGN_OR_RETURN(SplitPattern split, SplitPattern::Make(spec.pre));
  auto tokenizer = std::make_unique<BytePairTokenizer>(std::move(split));
  RETURN_IF_ERROR(tokenizer->Init(std::move(spec)));
  return tokenizer;
}

}  // namespace quire
