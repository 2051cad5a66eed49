#include "engine/types/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace quire {
namespace {

using ::testing::HasSubstr;

std::string Repeat(const std::string& unit, int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += unit;
  return text;
}

void ExpectRefused(const std::string& text, const std::string& words) {
  const auto json = ParseJson(text);
  EXPECT_EQ(json.status().code(), absl::StatusCode::kInvalidArgument) << text.substr(0, 100);
  EXPECT_THAT(std::string(json.status().message()), HasSubstr(words));
}

TEST(ParseJson, KeepsValuesAndTheOrderOfKeys) {
  for (const char* text : {"null", "true", "-3", "18446744073709551615", "2.5", "\"a\\u00e9\\n\"", "[]", "{}",
                           "{\"z\":1,\"a\":[{\"y\":null},[[2]],\"x\"],\"b\":{\"d\":1,\"c\":2}}"}) {
    const auto json = ParseJson(text);
    ASSERT_TRUE(json.ok()) << text;
    EXPECT_EQ(json->dump(), Json::parse(text).dump());
  }
}

TEST(ParseJson, RefusesWhatIsNoJson) {
  for (const char* text :
       {"", " ", "{", "[1,]", "{\"a\":}", "{'a':1}", "1 2", "\"\xFF\"", "nul", "{\"a\":1,}", "\"\n\""}) {
    ExpectRefused(text, "is not valid JSON at byte");
  }
}

TEST(ParseJson, RefusesAKeyThatAnObjectHasTwice) {
  ExpectRefused("[{\"a\":1,\"b\":2,\"a\":3}]", "the key \"a\" twice");
  EXPECT_TRUE(ParseJson("{\"a\":{\"a\":1},\"b\":{\"a\":1}}").ok());
}

TEST(ParseJson, BoundsNesting) {
  EXPECT_TRUE(ParseJson(Repeat("[", kMaxJsonDepth) + Repeat("]", kMaxJsonDepth)).ok());
  ExpectRefused(Repeat("[", kMaxJsonDepth + 1), "nested more than 64 deep");
  ExpectRefused(Repeat("{\"a\":", 1'000'000), "nested more than 64 deep");
}

TEST(ParseJson, BoundsTheNumberOfValues) {
  const std::string most = "[" + Repeat("1,", kMaxJsonValues - 2);
  EXPECT_TRUE(ParseJson(most + "1]").ok());
  ExpectRefused(most + "1,1]", "more than 1048576 values");
}

// Looking each key up among those before it would take minutes.
TEST(ParseJson, TakesObjectsOfVeryManyKeys) {
  std::string text = "{\"k\":0";
  for (int i = 0; i < 500'000; ++i) text += ",\"" + std::to_string(i) + "\":0";
  EXPECT_EQ(ParseJson(text + "}")->size(), 500'001u);
}

}  // namespace
}  // namespace quire
