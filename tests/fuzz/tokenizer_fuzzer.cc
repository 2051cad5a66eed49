// Any text through any pre-tokenizer: what is encoded decodes to the same text, at once and token by token.
#include <string>

#include "engine/tokenizer/incremental_decoder.h"
#include "engine/tokenizer/tokenizer.h"
#include "engine/tokenizer/utf8.h"
#include "kernels/check.h"
#include "tests/fakes/tiny_tokenizer.h"

namespace quire {
namespace {

constexpr const char* kPreTokenizers[] = {"gpt-2", "smollm", "llama-bpe", "qwen2", "gpt-4o", "tekken"};

const Tokenizer& TokenizerFor(uint8_t choice) {
  static const auto* tokenizers = [] {
    auto* made = new std::vector<std::unique_ptr<Tokenizer>>();
    for (const char* pre : kPreTokenizers) {
      TokenizerSpec spec = TinyTokenizerSpec(
          {"a a", "aa a", "Ġ Ġ", "t h", "th e", "Ġ the", "Ã ©", "Ċ Ċ", "' s"},
          {{"<|end|>", TokenKind::kControl}, {"<|end", TokenKind::kUserDefined}, {"  ", TokenKind::kUserDefined}});
      spec.pre = pre;
      made->push_back(MakeTokenizer(std::move(spec)).value());
    }
    return made;
  }();
  return *(*tokenizers)[choice % std::size(kPreTokenizers)];
}

void RoundTrip(const Tokenizer& tokenizer, std::string_view text, bool parse_special) {
  const auto ids = tokenizer.Encode(text, {.parse_special = parse_special});
  QUIRE_CHECK(ids.ok() != FindInvalidUtf8(text).has_value());
  if (!ids.ok()) return;
  QUIRE_CHECK(Decode(tokenizer, *ids, /*keep_special=*/true).value() == text);
  IncrementalDecoder decoder(&tokenizer, {});
  std::string shown;
  for (const TokenId id : *ids) shown += decoder.Push(id);
  shown += decoder.Finish();
  QUIRE_CHECK(shown == Decode(tokenizer, *ids, /*keep_special=*/false).value());
}

// The bytes as tokens, the first few of them as a stop string too.
void DecodeWithStop(const Tokenizer& tokenizer, std::string_view bytes, size_t stop_length) {
  std::vector<TokenId> ids;
  for (const char byte : bytes) ids.push_back(static_cast<uint8_t>(byte));
  std::string expected = Decode(tokenizer, ids, /*keep_special=*/false).value();
  const std::string stop = expected.substr(expected.size() / 2, stop_length);
  if (stop.empty() || FindInvalidUtf8(stop)) return;
  expected.resize(expected.find(stop));
  IncrementalDecoder decoder(&tokenizer, {stop});
  std::string shown;
  for (const TokenId id : ids) shown += decoder.Push(id);
  shown += decoder.Finish();
  QUIRE_CHECK(decoder.stopped() && shown == expected);
}

}  // namespace
}  // namespace quire

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const quire::Tokenizer& tokenizer = quire::TokenizerFor(data[0]);
  const std::string_view text(reinterpret_cast<const char*>(data) + 2, size - 2);
  quire::RoundTrip(tokenizer, text, /*parse_special=*/false);
  quire::RoundTrip(tokenizer, text, /*parse_special=*/true);
  quire::DecodeWithStop(tokenizer, text, data[1] % 16);
  return 0;
}
