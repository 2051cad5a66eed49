#include "server/http/openai/embedding_format.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/escaping.h"
#include "tests/server/letter_tokenizer.h"

namespace quire {
namespace {

using ::testing::HasSubstr;

GenerationDelta Embedded(int request, std::vector<float> values) {
  GenerationDelta news;
  news.request = request;
  news.delta.output.last = true;
  news.delta.output.embedding = std::move(values);
  news.delta.output.usage.prompt_tokens = 5;
  return news;
}

TEST(EmbeddingFormat, PutsEmbeddingsInTheOrderOfTheirPrompts) {
  EmbeddingFormat format("m", {}, 2);
  format.Collect(Embedded(1, {0, 2}));
  format.Collect(Embedded(0, {3, -4}));
  EXPECT_EQ(format.Whole().dump(),
            R"({"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.6,-0.8]},)"
            R"({"object":"embedding","index":1,"embedding":[0.0,1.0]}],"model":"m",)"
            R"("usage":{"prompt_tokens":10,"total_tokens":10}})");
}

TEST(EmbeddingFormat, CutsAndNormalisesAgain) {
  EmbeddingFormat format("m", {.base64 = false, .dimensions = 1, .normalize = true}, 1);
  format.Collect(Embedded(0, {3, -4}));
  EXPECT_EQ(format.Whole()["data"][0]["embedding"].dump(), "[1.0]");
  EmbeddingFormat raw("m", {.base64 = false, .dimensions = std::nullopt, .normalize = false}, 1);
  raw.Collect(Embedded(0, {3, 0.1f}));
  EXPECT_EQ(raw.Whole()["data"][0]["embedding"].dump(), "[3.0,0.1]") << "no more digits than a float has";
}

TEST(EmbeddingFormat, WritesBase64OfTheFloatsBytes) {
  EmbeddingFormat format("m", {.base64 = true, .dimensions = std::nullopt, .normalize = false}, 1);
  format.Collect(Embedded(0, {1, -2}));
  std::string bytes;
  ASSERT_TRUE(absl::Base64Unescape(format.Whole()["data"][0]["embedding"].get<std::string>(), &bytes));
  EXPECT_EQ(bytes, std::string("\0\0\x80\x3F\0\0\0\xC0", 8));
}

TEST(ParseEmbeddingRequest, TakesEveryFormOfInput) {
  const LetterTokenizer tokenizer;
  ServedModel model;
  model.name = "letters";
  model.max_model_len = 10;
  model.hidden_size = 4;
  model.tokenizer = &tokenizer;
  const RequestChecks checks(model);
  const auto parse = [&](const std::string& fields) {
    return ParseEmbeddingRequest(Json::parse("{" + fields + "}"), checks);
  };
  EXPECT_EQ(parse(R"("input": "ab")")->prompts.size(), 1u);
  EXPECT_EQ(parse(R"("input": ["ab", "c"])")->prompts[1].field, "input[1]");
  EXPECT_EQ(std::get<std::vector<TokenId>>(parse(R"("input": [1, 2])")->prompts[0].prompt).size(), 2u);
  EXPECT_EQ(parse(R"("input": [[1], [2, 3]])")->prompts.size(), 2u);
  const auto complaint = [&](const std::string& fields) { return std::string(parse(fields).status().message()); };
  EXPECT_THAT(complaint(""), HasSubstr("input must be set"));
  EXPECT_THAT(complaint(R"("input": "")"), HasSubstr("input must not be empty"));
  EXPECT_THAT(complaint(R"("input": ["a", ""])"), HasSubstr("input[1] must not be empty"));
  EXPECT_THAT(complaint(R"("input": [99])"), HasSubstr("input[0] must be in [0, 31)"));
  EXPECT_THAT(complaint(R"("input": "a", "dimensions": 5)"), HasSubstr("dimensions must be in [1, 4], got 5"));
  EXPECT_THAT(complaint(R"("input": "a", "encoding_format": "hex")"), HasSubstr("encoding_format must be"));
}

}  // namespace
}  // namespace quire
