#include "server/tools/tool_use.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "server/tools/tool_call_parser.h"

namespace quire {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

const char kTools[] = R"([
  {"type": "function", "function": {"name": "f", "description": "d",
   "parameters": {"type": "object", "properties": {"z": {"type": "string"}, "a": {}}, "required": ["z"]}}},
  {"type": "function", "function": {"name": "g"}}])";

Json Parsed(const std::string& text) { return ParseJson(text).value(); }

void ExpectToolsRefused(const std::string& tools, const std::string& message) {
  const absl::Status status = CheckTools("tools", Parsed(tools));
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << tools;
  EXPECT_THAT(std::string(status.message()), StartsWith(message));
}

TEST(CheckTools, TakesToolsAsClientsSendThem) {
  EXPECT_TRUE(CheckTools("tools", Parsed(kTools)).ok());
  EXPECT_TRUE(CheckTools("tools", Json()).ok());
  EXPECT_TRUE(CheckTools("tools", Json::array()).ok());
  EXPECT_TRUE(CheckTools("tools", Parsed(R"([{"type": "function", "function":
      {"name": "a.b-c_D9", "description": null, "parameters": null, "strict": true}, "more": 1}])"))
                  .ok());
}

TEST(CheckTools, NamesTheToolAtFault) {
  ExpectToolsRefused("{}", "tools must be a list");
  ExpectToolsRefused("[1]", "tools[0] must be an object");
  ExpectToolsRefused("[{}]", "tools[0].type must be \"function\"");
  ExpectToolsRefused(R"([{"type": "web_search"}])", "tools[0].type must be \"function\"");
  ExpectToolsRefused(R"([{"type": "function"}])", "tools[0].function must be an object");
  const auto with = [](const std::string& function) {
    return R"([{"type": "function", "function": )" + function + "}]";
  };
  ExpectToolsRefused(with("{}"), "tools[0].function.name must be");
  ExpectToolsRefused(with(R"({"name": "a b"})"), "tools[0].function.name must be");
  ExpectToolsRefused(with(R"({"name": ")" + std::string(129, 'a') + R"("})"), "tools[0].function.name must be");
  ExpectToolsRefused(with(R"({"name": "f", "description": 1})"), "tools[0].function.description must be");
  ExpectToolsRefused(with(R"({"name": "f", "parameters": []})"), "tools[0].function.parameters must be");
  Json twice = Parsed(kTools);
  twice[1]["function"]["name"] = "f";
  ExpectToolsRefused(twice.dump(), "tools[1].function.name must differ");
  ExpectToolsRefused(Json(Json::array_t(513, 1)).dump(), "tools must be at most 512");
}

ToolChoice Choice(const std::string& value) {
  ToolChoice choice;
  const absl::Status status = ReadToolChoice("tool_choice", Parsed(value), Parsed(kTools), &choice);
  EXPECT_TRUE(status.ok()) << status;
  return choice;
}

TEST(ReadToolChoice, KnowsEveryForm) {
  using Kind = ToolChoice::Kind;
  EXPECT_EQ(Choice("null").kind, Kind::kAuto);
  EXPECT_EQ(Choice("\"auto\"").kind, Kind::kAuto);
  EXPECT_EQ(Choice("\"none\"").kind, Kind::kNone);
  EXPECT_EQ(Choice("\"required\"").kind, Kind::kRequired);
  const ToolChoice named = Choice(R"({"type": "function", "function": {"name": "g"}})");
  EXPECT_EQ(named.kind, Kind::kNamed);
  EXPECT_EQ(named.name, "g");
}

TEST(ReadToolChoice, SaysWhatItShouldBe) {
  const auto refuse = [](const std::string& value, const Json& tools) {
    ToolChoice choice;
    return std::string(ReadToolChoice("tool_choice", Parsed(value), tools, &choice).message());
  };
  EXPECT_THAT(refuse("1", Parsed(kTools)), HasSubstr("tool_choice must be \"none\", \"auto\", \"required\" or"));
  EXPECT_THAT(refuse("\"any\"", Parsed(kTools)), HasSubstr("tool_choice must be"));
  EXPECT_THAT(refuse(R"({"type": "function"})", Parsed(kTools)), HasSubstr("tool_choice must be"));
  EXPECT_THAT(refuse(R"({"type": "function", "function": {"name": "h"}})", Parsed(kTools)),
              HasSubstr("tool_choice.function.name must be one of the tools, got h"));
  EXPECT_THAT(refuse("\"required\"", Json()), HasSubstr("where there are no tools"));
}

// What the format enforces is what the parser reads: written out with the shortest arguments.
std::string Written(const OutputFormat& format) {
  std::string text = format.before;
  for (size_t i = 0; i < format.frames.size() && (i == 0 || format.separator); ++i) {
    if (i > 0) text += *format.separator;
    text += format.frames[i].begin + "{\"z\":\"}\"}" + format.frames[i].end;
  }
  return text + format.behind;
}

TEST(PlanToolUse, EnforcesWhatItsParserReads) {
  std::vector<std::string> names = CallSyntaxNames();
  names.push_back("unknown");
  for (const std::string& name : names) {
    SCOPED_TRACE(name);
    const ToolUse use = PlanToolUse(Parsed(kTools), Choice("\"required\""), FindCallSyntax(name, ""));
    ASSERT_EQ(use.format.kind, OutputFormat::Kind::kFrames);
    ToolCallParser parser(*use.syntax, 1);
    std::vector<AnswerPiece> pieces = parser.Push(Written(use.format));
    EXPECT_TRUE(parser.Finish().empty());
    ASSERT_EQ(pieces.size(), 2u);
    EXPECT_EQ(pieces[0].name, "f");
    EXPECT_EQ(pieces[1].name, "g");
    EXPECT_EQ(pieces[1].text, "{\"z\":\"}\"}");
    const ToolUse named =
        PlanToolUse(Parsed(kTools), Choice(R"({"type":"function","function":{"name":"g"}})"), FindCallSyntax(name, ""));
    ASSERT_EQ(named.format.frames.size(), 1u);
    EXPECT_FALSE(named.format.separator.has_value());
    EXPECT_FALSE(named.parallel);
  }
}

TEST(PlanToolUse, LeavesTheModelFreeWhereNothingIsEnforced) {
  const CallSyntax* hermes = FindCallSyntax("hermes", "");
  const ToolUse free = PlanToolUse(Parsed(kTools), Choice("\"auto\""), hermes);
  EXPECT_EQ(free.syntax, hermes);
  EXPECT_EQ(free.format.kind, OutputFormat::Kind::kFree);
  EXPECT_EQ(PlanToolUse(Parsed(kTools), Choice("\"none\""), hermes).syntax, nullptr);
}

TEST(StructuralTag, HoldsTheSchemasBetweenTheTextsAroundThem) {
  ToolChoice choice = Choice("\"required\"");
  choice.parallel = false;
  const ToolUse use = PlanToolUse(Parsed(kTools), choice, FindCallSyntax("hermes", ""));
  const Json tag = Parsed(StructuralTag(use.format, 24));
  EXPECT_EQ(tag["type"], "structural_tag");
  const Json& format = tag["format"];
  EXPECT_EQ(format["type"], "tags_with_separator");
  EXPECT_EQ(format["at_least_one"], true);
  EXPECT_EQ(format["stop_after_first"], true);
  ASSERT_EQ(format["tags"].size(), 2u);
  EXPECT_EQ(format["tags"][0]["begin"], "<tool_call>\n{\"name\": \"f\", \"arguments\": ");
  EXPECT_EQ(format["tags"][0]["content"]["json_schema"], Parsed(kTools)[0]["function"]["parameters"]);
  EXPECT_EQ(format["tags"][0]["end"], "}\n</tool_call>");
}

}  // namespace
}  // namespace quire
