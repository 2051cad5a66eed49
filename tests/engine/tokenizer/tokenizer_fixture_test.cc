// The model's own vocabulary and template against what transformers makes of them
// (tests/reference/make_tokenizer_fixture.py).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/loader/checkpoint.h"
#include "engine/tokenizer/incremental_decoder.h"
#include "engine/tokenizer/split_pattern.h"
#include "engine/tokenizer/tokenizer.h"

namespace quire {
namespace {

using nlohmann::json;

const json& Fixture() {
  static const json fixture = json::parse(std::ifstream(QUIRE_TOKENIZER_FIXTURE));
  return fixture;
}

const Tokenizer& ModelTokenizer() {
  static const auto* tokenizer = [] {
    const auto checkpoint = OpenCheckpoint(QUIRE_TEST_MODEL).value();
    TokenizerSpec spec;
    spec.model = checkpoint->GetString("tokenizer.ggml.model").value();
    spec.pre = checkpoint->GetString("tokenizer.ggml.pre").value();
    spec.tokens = checkpoint->GetStrings("tokenizer.ggml.tokens").value();
    spec.merges = checkpoint->GetStrings("tokenizer.ggml.merges").value();
    const auto types = checkpoint->GetInts("tokenizer.ggml.token_type").value();
    for (const int64_t type : types) {
      spec.kinds.push_back(type == 3 ? TokenKind::kControl : TokenKind::kNormal);
    }
    return MakeTokenizer(std::move(spec)).value().release();
  }();
  return *tokenizer;
}

TEST(TokenizerFixture, EncodesAsTheReferenceDoes) {
  ASSERT_GE(Fixture()["encode"].size(), 150u);
  for (const json& example : Fixture()["encode"]) {
    SCOPED_TRACE(example["text"].dump());
    const auto ids = ModelTokenizer().Encode(example["text"].get<std::string>(),
                                             {.parse_special = example["parse_special"].get<bool>()});
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_EQ(*ids, example["ids"].get<std::vector<TokenId>>());
  }
}

TEST(TokenizerFixture, DecodesAsTheReferenceDoes) {
  for (const json& example : Fixture()["encode"]) {
    SCOPED_TRACE(example["text"].dump());
    const auto ids = example["ids"].get<std::vector<TokenId>>();
    EXPECT_EQ(*Decode(ModelTokenizer(), ids, /*keep_special=*/false), example["decoded"].get<std::string>());
    EXPECT_EQ(*Decode(ModelTokenizer(), ids, /*keep_special=*/true), example["decoded_special"].get<std::string>());
    IncrementalDecoder decoder(&ModelTokenizer(), {});
    std::string text;
    for (const TokenId id : ids) text += decoder.Push(id);
    EXPECT_EQ(text + decoder.Finish(), example["decoded"].get<std::string>());
  }
}

TEST(TokenizerFixture, SplitsWordsAsEachFamilyDoes) {
  for (const json& example : Fixture()["split"]) {
    SCOPED_TRACE(example.dump());
    const auto pattern = SplitPattern::Make(example["pre"].get<std::string>());
    ASSERT_TRUE(pattern.ok()) << pattern.status();
    const std::string text = example["text"].get<std::string>();
    std::vector<std::string> words;
    ASSERT_TRUE(pattern->Split(text, [&](std::string_view word) { words.emplace_back(word); }).ok());
    EXPECT_EQ(words, example["words"].get<std::vector<std::string>>());
  }
}

}  // namespace
}  // namespace quire
