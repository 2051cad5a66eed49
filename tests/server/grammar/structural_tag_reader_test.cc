#include "server/grammar/structural_tag_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/types/json.h"

namespace quire {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

// What becomes of the format; null where it is refused.
Json Read(const std::string& tag) {
  const auto read = ReadStructuralTag(tag, 24);
  EXPECT_TRUE(read.ok()) << read.status();
  if (!read.ok()) return nullptr;
  const Json whole = Json::parse(*read);
  EXPECT_EQ(whole["type"], "structural_tag");
  return whole["format"];
}

Json ReadFormat(const std::string& format) { return Read(R"({"type": "structural_tag", "format": )" + format + "}"); }

std::string Refusal(const std::string& tag) {
  const auto read = ReadStructuralTag(tag, 24);
  EXPECT_TRUE(absl::IsInvalidArgument(read.status())) << tag;
  return std::string(read.status().message());
}

std::string FormatRefusal(const std::string& format) { return Refusal(R"({"format": )" + format + "}"); }

TEST(ReadStructuralTag, ReadsTheOlderFormAsTriggeredTags) {
  const Json format = Read(R"({"type": "structural_tag", "triggers": ["<f"],
      "structures": [{"begin": "<f=a>", "schema": {"type": "null"}, "end": "</f>"},
                     {"begin": "<f=b>", "schema": "{\"type\": \"integer\"}", "end": ""}]})");
  EXPECT_EQ(format, Json::parse(R"({"type": "triggered_tags", "triggers": ["<f"], "tags": [
      {"begin": "<f=a>", "content": {"type": "json_schema", "json_schema": {"type": "null"}, "max_whitespace_cnt": 24},
       "end": "</f>", "type": "tag"},
      {"begin": "<f=b>", "content": {"type": "json_schema", "json_schema": {"type": "integer"},
       "max_whitespace_cnt": 24}, "end": "", "type": "tag"}]})"));
}

TEST(ReadStructuralTag, BoundsWhiteSpaceAndMakesRegularExpressionsOneAutomaton) {
  EXPECT_EQ(ReadFormat(R"({"type": "json_schema", "json_schema": true})")["max_whitespace_cnt"], 24);
  EXPECT_EQ(
      ReadFormat(R"({"type": "json_schema", "json_schema": true, "max_whitespace_cnt": null})")["max_whitespace_cnt"],
      24);
  EXPECT_EQ(
      ReadFormat(R"({"type": "json_schema", "json_schema": true, "max_whitespace_cnt": 2})")["max_whitespace_cnt"], 2);
  EXPECT_EQ(
      ReadFormat(R"({"type": "json_schema", "json_schema": true, "max_whitespace_cnt": 99})")["max_whitespace_cnt"],
      24);
  EXPECT_EQ(ReadFormat(R"({"type": "regex", "pattern": "a\"b"})"),
            Json({{"type", "grammar"}, {"grammar", "root ::= Regex(\"a\\\"b\", flags=\"\")"}}));
}

// The compiler takes all of this; each of these types is compiled in grammar_compiler_test.
TEST(ReadStructuralTag, TakesFieldsThatAreNullForAbsentOnes) {
  const Json format = ReadFormat(R"({"type": "any_text", "excludes": ["a"], "max_tokens": null, "max_chars": null})");
  EXPECT_EQ(format, Json({{"type", "any_text"}, {"excludes", {"a"}}}));
}

TEST(ReadStructuralTag, RefusesWhatIsNoStructuralTag) {
  EXPECT_THAT(Refusal("{"), StartsWith("must be JSON: "));
  EXPECT_THAT(Refusal("\xFF"), StartsWith("must be JSON: "));
  EXPECT_EQ(Refusal("[]"), "must be a JSON object");
  EXPECT_EQ(Refusal("{}"), R"(at $: "format" must be set, or "structures" and "triggers")");
  EXPECT_EQ(Refusal(R"({"type": "tag", "format": {}})"), R"(at $.type: must be "structural_tag")");
  EXPECT_EQ(Refusal(R"({"format": {}, "triggers": []})"), R"(at $: the field "triggers" is not supported)");
  EXPECT_EQ(Refusal(R"({"format": 3})"), R"(at $.format: must be an object with a "type")");
  EXPECT_EQ(Refusal(R"({"structures": []})"), "at $.structures: must be a list of structures");
  EXPECT_EQ(Refusal(R"({"triggers": ["a"]})"), "at $.structures: must be a list of structures");
  EXPECT_EQ(Refusal(R"({"structures": [3], "triggers": ["a"]})"), "at $.structures[0]: must be an object");
  EXPECT_EQ(Refusal(R"({"structures": [{"begin": "a", "end": ""}], "triggers": ["a"]})"),
            R"(at $.structures[0]: "schema" must be set)");
  EXPECT_EQ(Refusal(R"({"structures": [{"begin": "a", "schema": {}, "end": "", "x": 1}], "triggers": ["a"]})"),
            R"(at $.structures[0]: the field "x" is not supported)");
  EXPECT_EQ(Refusal(R"({"structures": [{"begin": "a", "schema": {}, "end": ""}], "triggers": []})"),
            "at $.triggers: must have at least one trigger");
  EXPECT_EQ(Refusal(R"({"structures": [{"begin": "a", "schema": {}, "end": ""}], "triggers": ["a", "b"]})"),
            R"(at $: no tag begins with the trigger "b")");
}

TEST(ReadStructuralTag, HoldsPartsToWhatIsAskedOfThemAlone) {
  EXPECT_EQ(FormatRefusal(R"({"type": "json_schema", "json_schema": {"not": {}}})"),
            R"(at $.format.json_schema: the keyword "not" is not supported)");
  EXPECT_EQ(FormatRefusal(R"({"type": "json_schema", "json_schema": {"items": {"type": "x"}}})"),
            R"(at $.format.json_schema.items: "type" must name types of JSON, got "x")");
  EXPECT_THAT(FormatRefusal(R"({"type": "json_schema", "json_schema": "{"})"),
              StartsWith("at $.format.json_schema: is not valid JSON"));
  EXPECT_EQ(Refusal(R"({"structures": [{"begin": "a", "schema": {"not": {}}, "end": ""}], "triggers": ["a"]})"),
            R"(at $.structures[0].schema: the keyword "not" is not supported)");
  EXPECT_EQ(FormatRefusal(R"({"type": "regex", "pattern": ""})"), "at $.format.pattern: must not be empty");
  EXPECT_THAT(FormatRefusal(R"({"type": "regex", "pattern": ")" + std::string(300, '(') + R"("})"),
              StartsWith("at $.format.pattern: must have at most 256 groups"));
  EXPECT_EQ(FormatRefusal(R"({"type": "grammar", "grammar": ""})"), "at $.format.grammar: must not be empty");
  EXPECT_EQ(FormatRefusal(R"({"type": "grammar", "grammar": "root[max_chars=1] ::= [a-z]"})"),
            "at $.format.grammar: must not use max_chars");
  const std::string groups = "root ::= Regex('" + std::string(300, '(') + "')";
  EXPECT_THAT(FormatRefusal(R"({"type": "grammar", "grammar": ")" + groups + "\"}"),
              StartsWith("at $.format.grammar: must have at most 256 groups"));
}

TEST(ReadStructuralTag, RefusesByNameWhatWouldBePassedOver) {
  for (const char* type :
       {"token", "exclude_token", "any_tokens", "token_triggered_tags", "token_dispatch", "qwen_xml_parameter", "x"}) {
    EXPECT_EQ(FormatRefusal(R"({"type": ")" + std::string(type) + R"(", "token": 3})"),
              "at $.format: the type \"" + std::string(type) + "\" is not supported");
  }
  EXPECT_EQ(FormatRefusal(R"({"type": "any_text", "max_tokens": 3})"),
            "at $.format.max_tokens: is not supported: length cannot be bounded there");
  EXPECT_EQ(FormatRefusal(R"({"type": "json_schema", "json_schema": {}, "any_order": true})"),
            "at $.format.any_order: must be false: properties come in the order of the schema");
  EXPECT_EQ(FormatRefusal(R"({"type": "json_schema", "json_schema": {}, "style": "qwen_xml"})"),
            "at $.format.style: must be \"json\"; other styles are not supported");
  EXPECT_EQ(FormatRefusal(R"({"type": "const_string", "value": "a", "x": 1})"),
            R"(at $.format: the field "x" is not supported)");
  EXPECT_EQ(FormatRefusal(R"({"type": "tag", "begin": {"type": "token", "token": 1},
                              "content": {"type": "any_text"}, "end": "b"})"),
            "at $.format.begin: must be a string");
}

TEST(ReadStructuralTag, NamesThePartAtFault) {
  const auto inside = [](const std::string& part) {
    return FormatRefusal(R"({"type": "sequence", "elements": [{"type": "any_text"}, )" + part + "]}");
  };
  const std::string at = "at $.format.elements[1]";
  EXPECT_EQ(inside("3"), at + ": must be an object with a \"type\"");
  EXPECT_EQ(inside(R"({"type": "const_string"})"), at + ": \"value\" must be set");
  EXPECT_EQ(inside(R"({"type": "const_string", "value": 3})"), at + ".value: must be a string");
  EXPECT_EQ(inside(R"({"type": "or", "elements": []})"), at + ".elements: must be a list of formats");
  EXPECT_EQ(inside(R"({"type": "star", "content": {"type": "or", "elements": [{"type": "x"}]}})"),
            at + ".content.elements[0]: the type \"x\" is not supported");
  EXPECT_EQ(inside(R"({"type": "repeat", "min": -1, "max": 2, "content": {"type": "any_text"}})"),
            at + ".min: must be a 32-bit integer of at least 0");
  EXPECT_THAT(inside(R"({"type": "repeat", "min": 0, "max": 1e300, "content": {"type": "any_text"}})"),
              StartsWith(at + ".max: must be -1"));
  EXPECT_EQ(inside(R"({"type": "repeat", "min": 3, "max": 2, "content": {"type": "any_text"}})"),
            at + ": \"max\" must be -1 or at least \"min\"");
  EXPECT_EQ(inside(R"({"type": "tag", "begin": "a", "content": {"type": "any_text"}, "end": []})"),
            at + ".end: must be a string or a list of strings");
  EXPECT_EQ(inside(R"({"type": "tags_with_separator", "separator": "", "tags": [{"type": "any_text"}]})"),
            at + ".tags[0]: must be of type \"tag\"");
  EXPECT_EQ(inside(R"({"type": "any_text", "excludes": [""]})"),
            at + ".excludes: must be a list of strings that are not empty");
  EXPECT_EQ(inside(R"({"type": "dispatch", "rules": [["", {"type": "any_text"}]]})"),
            at + ".rules[0]: must be a list of a trigger, which must be a string that is not empty, and a format");
  EXPECT_EQ(inside(R"({"type": "dispatch", "rules": [["a", {"type": "any_text"}]], "loop": 1})"),
            at + ".loop: must be true or false");
}

TEST(ReadStructuralTag, RefusesWhatIsNestedDeep) {
  std::string open, close;
  for (int i = 0; i < 100; ++i) {
    open += R"({"type": "star", "content": )";
    close += "}";
  }
  EXPECT_THAT(FormatRefusal(open + R"({"type": "any_text"})" + close), HasSubstr("nested"));
}

}  // namespace
}  // namespace quire
