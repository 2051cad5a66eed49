#include "server/grammar/json_schema_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace quire {
namespace {

using ::testing::HasSubstr;

std::string Problem(std::string_view schema) { return std::string(CheckJsonSchema(schema).message()); }

TEST(JsonSchemaCheck, TakesWhatIsFollowedToTheLetter) {
  for (const char* schema :
       {R"(true)", R"({})", R"({"type": "string", "format": "whatever", "maxLength": 3})",
        R"({"type": ["integer", "null"], "minimum": 1})", R"({"type": "integer", "enum": [1, 2]})",
        R"({"properties": {"a": {"$ref": "#/$defs/b"}}, "required": ["a"], "$defs": {"b": {"const": [1]}}})",
        R"({"anyOf": [{"type": "null"}, {"items": {"type": "number"}}], "title": "T", "default": null})",
        R"({"type": "object", "propertyNames": {"pattern": "^a"}, "additionalProperties": {"type": "null"}})",
        R"({"type": "array", "uniqueItems": false, "prefixItems": [{"type": "boolean"}], "items": false})"}) {
    EXPECT_EQ(CheckJsonSchema(schema), absl::OkStatus()) << schema;
  }
}

TEST(JsonSchemaCheck, NamesTheKeywordThatWouldBePassedOverAndWhereItIs) {
  EXPECT_EQ(Problem(R"({"type": "array", "uniqueItems": true})"), "at $: the keyword \"uniqueItems\" is not supported");
  EXPECT_EQ(Problem(R"({"properties": {"a": {"items": {"not": {}}}}})"),
            "at $.properties.a.items: the keyword \"not\" is not supported");
  EXPECT_EQ(Problem(R"({"$defs": {"x": {"if": {}}}})"), "at $.$defs.x: the keyword \"if\" is not supported");
  EXPECT_EQ(Problem(R"({"anyOf": [{}, {"type": "array", "contains": {}}]})"),
            "at $.anyOf[1]: the keyword \"contains\" is not supported");
  EXPECT_THAT(Problem(R"({"minimum": 3})"), HasSubstr("\"minimum\" needs a \"type\" beside it"));
  EXPECT_THAT(Problem(R"({"type": "string", "minimum": 3})"), HasSubstr("does not go with type \"string\""));
  EXPECT_THAT(Problem(R"({"$ref": "#/$defs/a", "minimum": 3})"), HasSubstr("\"minimum\" beside \"$ref\""));
  EXPECT_THAT(Problem(R"({"type": "object", "anyOf": [{}]})"), HasSubstr("\"type\" beside \"anyOf\""));
  EXPECT_THAT(Problem(R"({"allOf": [{}, {}]})"), HasSubstr("more than one"));
}

TEST(JsonSchemaCheck, SaysWhatIsWrong) {
  EXPECT_THAT(Problem(R"({"type": "strin"})"), HasSubstr("\"strin\""));
  EXPECT_THAT(Problem(R"({"type": []})"), HasSubstr("must not be empty"));
  EXPECT_THAT(Problem(R"({"type": "integer", "const": "x"})"), HasSubstr("\"x\" is not of the \"type\""));
  EXPECT_THAT(Problem(R"({"properties": {}, "required": ["a"]})"), HasSubstr("names \"a\""));
  EXPECT_THAT(Problem(R"({"properties": [3]})"), HasSubstr("must be an object or a boolean"));
  EXPECT_THAT(Problem(R"({"required": 3, "type": "object"})"), HasSubstr("list of names"));
  EXPECT_THAT(Problem(R"({"$ref": "other.json"})"), HasSubstr("must be \"#\" or begin with"));
  EXPECT_THAT(Problem(R"({"$ref": 3})"), HasSubstr("must be \"#\" or begin with"));
  EXPECT_THAT(Problem("[]"), HasSubstr("must be an object"));
  EXPECT_THAT(Problem(R"({"a")"), HasSubstr("must be JSON"));
  EXPECT_THAT(Problem("\"\xff\""), HasSubstr("must be JSON"));
}

TEST(JsonSchemaCheck, RefusesWhatIsNestedTooDeep) {
  const std::string open(100'000, '['), close(100'000, ']');
  EXPECT_THAT(Problem(open), ::testing::Not(""));
  EXPECT_THAT(Problem(open + close), HasSubstr("nested deeper"));
}

}  // namespace
}  // namespace quire
