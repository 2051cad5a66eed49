#include "server/tools/tool_call_parser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <set>
#include <string>

#include "engine/types/json.h"

namespace quire {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

struct Call {
  std::string name, arguments;
  bool operator==(const Call&) const = default;
};
void PrintTo(const Call& call, std::ostream* out) { *out << call.name << "(" << call.arguments << ")"; }

struct Answer {
  std::string text;
  std::vector<Call> calls;
  std::vector<std::string> ids;
  bool operator==(const Answer&) const = default;
};
void PrintTo(const Answer& answer, std::ostream* out) {
  *out << Json(answer.text) << " with " << ::testing::PrintToString(answer.calls);
}

void Add(std::vector<AnswerPiece> pieces, Answer& answer) {
  for (size_t i = 0; i < pieces.size(); ++i) {
    const AnswerPiece& piece = pieces[i];
    if (piece.call < 0) {
      EXPECT_FALSE(piece.text.empty());
      answer.text += piece.text;
      continue;
    }
    if (piece.call == static_cast<int>(answer.calls.size())) {
      EXPECT_FALSE(piece.name.empty());
      answer.calls.push_back({piece.name, ""});
      answer.ids.push_back(piece.id);
    } else {
      EXPECT_EQ(piece.call, static_cast<int>(answer.calls.size()) - 1) << "only the last call goes on";
      EXPECT_EQ(piece.name + piece.id, "");
    }
    answer.calls.back().arguments += piece.text;
  }
}

const CallSyntax& Syntax(const std::string& name) { return *FindCallSyntax(name, ""); }

Answer Parse(const CallSyntax& syntax, const std::vector<std::string>& texts) {
  ToolCallParser parser(syntax, 7);
  Answer answer;
  for (const std::string& text : texts) Add(parser.Push(text), answer);
  Add(parser.Finish(), answer);
  EXPECT_EQ(parser.num_calls(), static_cast<int>(answer.calls.size()));
  return answer;
}
Answer Parse(const std::string& syntax, const std::string& text) { return Parse(Syntax(syntax), {text}); }

void ExpectCalls(const std::string& syntax, const std::string& text, const std::vector<Call>& calls,
                 const std::string& plain = "") {
  SCOPED_TRACE(syntax + ": " + text);
  const Answer answer = Parse(syntax, text);
  EXPECT_EQ(answer.calls, calls);
  EXPECT_EQ(answer.text, plain);
}

TEST(ToolCallParser, ReadsCallsAsEachFamilyWritesThem) {
  const Call weather = {"get_weather", "{\"city\": \"Zürich \\\"x\\\"\", \"days\": [1, {\"a\": null}]}"};
  const std::string object = "{\"name\": \"get_weather\", \"arguments\": " + weather.arguments + "}";
  const std::string parameters = "{\"name\": \"get_weather\", \"parameters\": " + weather.arguments + "}";
  ExpectCalls("hermes", "<tool_call>\n" + object + "\n</tool_call>", {weather});
  ExpectCalls("hermes", "I look.\n<tool_call>" + object + "</tool_call>\n<tool_call>\n" + object + "\n</tool_call>\n",
              {weather, weather}, "I look.\n");
  ExpectCalls("llama3_json", parameters, {weather});
  ExpectCalls("llama3_json", "<|python_tag|>" + parameters + "; " + parameters, {weather, weather});
  ExpectCalls("llama3_json", "\n" + parameters + "\n" + parameters, {weather, weather});
  ExpectCalls("mistral", "[TOOL_CALLS] [" + object + ", " + object + "]", {weather, weather});
  ExpectCalls("mistral", "[TOOL_CALLS]get_weather" + weather.arguments + "[TOOL_CALLS]f{}", {weather, {"f", "{}"}});
  ExpectCalls("mistral", "[TOOL_CALLS]get_weather[CALL_ID]123456789[ARGS]" + weather.arguments, {weather});
  ExpectCalls("granite", "<|tool_call|>[" + object + "]", {weather});
  ExpectCalls("granite", "<tool_call>" + object + "</tool_call>", {weather});
  ExpectCalls("deepseek",
              "Yes.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n" +
                  weather.arguments +
                  "\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{}\n"
                  "```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
              {weather, {"f", "{}"}}, "Yes.");
  ExpectCalls("deepseek",
              "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>" + weather.arguments +
                  "<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
              {weather});
  ExpectCalls("pythonic", "[f(a=1, b='it\\'s \"x\"', c=[True, None, -2.5e3], d={'k': (1, 2)},), g.h()]",
              {{"f", R"({"a":1,"b":"it's \"x\"","c":[true,null,-2500.0],"d":{"k":[1,2]}})"}, {"g.h", "{}"}});
  ExpectCalls("pythonic", "<|python_start|>[f(x=\"\\n\\x41\\u00e9\")]<|python_end|>", {{"f", "{\"x\":\"\\nAé\"}"}});
  EXPECT_THAT(Parse(kPlainCallSyntax, {" [" + object + "]"}).calls, ElementsAre(weather));
}

TEST(ToolCallParser, TakesObjectsInWhateverOrderModelsWriteThem) {
  ExpectCalls("hermes", "<tool_call>{\"arguments\": {\"a\": 1}, \"name\": \"f\"}</tool_call>", {{"f", "{\"a\": 1}"}});
  ExpectCalls("hermes", "<tool_call>{\"id\": -1.5e3, \"type\": \"function\", \"name\": \"f\"}</tool_call>",
              {{"f", "{}"}});
  ExpectCalls("hermes", "<tool_call>{\"name\": \"f\", \"arguments\": null}</tool_call>", {{"f", "{}"}});
  ExpectCalls("hermes", "<tool_call>{\"name\": \"f\", \"arguments\": \"{\\\"a\\\": 1}\"}</tool_call>",
              {{"f", "{\"a\": 1}"}});
  ExpectCalls("hermes", "<tool_call>{\"name\": \"f\\u0067\", \"arguments\": {}, \"id\": [1, {}]}</tool_call>",
              {{"fg", "{}"}});
}

TEST(ToolCallParser, GivesWhatIsNoCallOutAsItCame) {
  for (const std::string& syntax : CallSyntaxNames()) {
    for (const char* text : {"",
                             "Hello.",
                             "  \n",
                             "a < b",
                             "<tool_cal",
                             "<tool_call>",
                             "<tool_call> x",
                             "<tool_call>{\"name\": 1}</tool_call>",
                             "<tool_call><tool_call>{}",
                             "{\"answer\": 42}",
                             "{\"name\": \"f\"",
                             "{\"name\": \"f\", \"arguments\": 3}",
                             "[1, 2]",
                             "[f(a=1",
                             "[f(a=b)]",
                             "[f(1)]",
                             "[f(a=1, a=2)]",
                             "[]",
                             "[TOOL_CALLS",
                             "[TOOL_CALLS][]",
                             "[TOOL_CALLS]no name",
                             "<|python_tag|>print(1)",
                             "<|tool_call|>[",
                             "<｜tool▁calls▁begin｜>",
                             "<｜tool▁call▁begin｜>a b{}",
                             "\n\n{",
                             "; {",
                             "<",
                             "{\"name\": \"\"}",
                             "{\"name\": \"f\", \"arguments\": \"no\"}",
                             "{\"a\" 1}",
                             "{,}",
                             "{\"a\": 1,}",
                             "<tool_call>[{]"}) {
      ExpectCalls(syntax, text, {}, text);
    }
  }
}

TEST(ToolCallParser, GoesOnAsTextWhereACallIsOver) {
  ExpectCalls("hermes", "<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call> Done <b>.", {{"f", "{}"}},
              " Done <b>.");
  ExpectCalls("hermes", "<tool_call>{\"name\": \"f\", \"arguments\": {}</tool_call>", {{"f", "{}"}});
  ExpectCalls("hermes", "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": tru}}</tool_call>", {{"f", "{\"a\": tru"}},
              "}}</tool_call>");
  ExpectCalls("mistral", "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {}}, no]", {{"f", "{}"}}, ", no]");
  ExpectCalls("pythonic", "[f(), g(x)]", {{"f", "{}"}}, ", g(x)]");
}

TEST(ToolCallParser, KeepsWhatALengthLimitLeftOfACall) {
  ExpectCalls("hermes", "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": \"b", {{"f", "{\"a\": \"b"}});
  ExpectCalls("hermes", "<tool_call>\n{\"name\": \"f\", \"arg", {}, "<tool_call>\n{\"name\": \"f\", \"arg");
}

TEST(ToolCallParser, PassesTextOnAsSoonAsItCanBeNoCall) {
  ToolCallParser parser(Syntax("hermes"), 1);
  const auto text_of = [](const std::vector<AnswerPiece>& pieces) { return pieces.empty() ? "" : pieces[0].text; };
  EXPECT_EQ(text_of(parser.Push("Well <")), "Well ");
  EXPECT_EQ(text_of(parser.Push("tool_")), "");
  EXPECT_EQ(text_of(parser.Push("box>")), "<tool_box>");
  EXPECT_EQ(text_of(parser.Push("<tool_call>\n")), "");
  EXPECT_EQ(text_of(parser.Push("5")), "<tool_call>\n5");
}

TEST(ToolCallParser, PassesACallOnAsItIsWritten) {
  ToolCallParser parser(Syntax("hermes"), 1);
  EXPECT_THAT(parser.Push("<tool_call>{\"name\": \"f\", \"arguments\": "), IsEmpty());
  std::vector<AnswerPiece> pieces = parser.Push("{\"a");
  ASSERT_EQ(pieces.size(), 1u);
  EXPECT_EQ(pieces[0].call, 0);
  EXPECT_EQ(pieces[0].name, "f");
  EXPECT_TRUE(pieces[0].id.starts_with("call_"));
  EXPECT_EQ(pieces[0].text, "{\"a");
  pieces = parser.Push("\": 1}");
  ASSERT_EQ(pieces.size(), 1u);
  EXPECT_EQ(pieces[0].name, "");
  EXPECT_EQ(pieces[0].text, "\": 1}");
  EXPECT_THAT(parser.Push("}</tool_call>"), IsEmpty());
}

TEST(ToolCallParser, GivesEachCallAnIdOfItsOwn) {
  const Answer answer = Parse("mistral", "[TOOL_CALLS]a{}[TOOL_CALLS]b{}[TOOL_CALLS]c{}");
  const std::set<std::string> ids(answer.ids.begin(), answer.ids.end());
  EXPECT_EQ(ids.size(), 3u);
  for (const std::string& id : ids) EXPECT_EQ(id.size(), 9u) << "as the model's template demands";
}

TEST(ToolCallParser, HoldsNoMoreThanItMust) {
  ToolCallParser parser(Syntax("hermes"), 1);
  size_t given = 0;
  std::vector<AnswerPiece> pieces = parser.Push("<tool_call>{\"x\": \"");
  for (int i = 0; i < 300; ++i) {
    for (const AnswerPiece& piece : parser.Push(std::string(1024, 'y'))) given += piece.text.size();
  }
  EXPECT_GT(given, 200u << 10);
}

// Answers put together from pieces of every syntax, cut at random: the cuts do not show, and nothing is lost.
TEST(ToolCallParser, DoesNotDependOnHowAnAnswerIsCut) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  const auto draw = [&](size_t count) { return std::uniform_int_distribution<size_t>(0, count - 1)(random); };
  const std::vector<std::string> parts = {"<tool_call>",
                                          "</tool_call>",
                                          "<|tool_call|>",
                                          "[TOOL_CALLS]",
                                          "[ARGS]",
                                          "<|python_tag|>",
                                          "<|python_start|>",
                                          "<|python_end|>",
                                          "<｜tool▁calls▁begin｜>",
                                          "<｜tool▁call▁begin｜>",
                                          "function<｜tool▁sep｜>",
                                          "<｜tool▁call▁end｜>",
                                          "```json\n",
                                          "```",
                                          "{",
                                          "}",
                                          "[",
                                          "]",
                                          ",",
                                          ";",
                                          ":",
                                          "\n",
                                          " ",
                                          "\"name\"",
                                          "\"arguments\"",
                                          "\"parameters\"",
                                          "\"f\"",
                                          "{\"name\": \"f\", \"arguments\": ",
                                          "{\"a\": [1, 2.5e-3, \"\\u00e9}\", true]}",
                                          "{}",
                                          "1",
                                          "-",
                                          "f(",
                                          ")",
                                          "a=1",
                                          "'x'",
                                          "\\",
                                          "\"",
                                          "get_weather",
                                          "null",
                                          "é",
                                          "[f(a=1), ",
                                          "\"arguments\": {\"k\": \"v\"}"};
  for (int round = 0; round < 4000; ++round) {
    std::string text;
    for (size_t i = 0, count = 1 + draw(14); i < count; ++i) text += parts[draw(parts.size())];
    const std::vector<std::string> names = CallSyntaxNames();
    const CallSyntax& syntax = Syntax(names[draw(names.size())]);
    std::vector<std::string> cut;
    for (size_t begin = 0; begin < text.size();) {
      const size_t size = 1 + draw(round % 2 ? 3 : 20);
      cut.push_back(text.substr(begin, size));
      begin += size;
    }
    SCOPED_TRACE(std::string(syntax.name) + ": " + text);
    const Answer whole = Parse(syntax, {text}), pieces = Parse(syntax, cut);
    ASSERT_EQ(whole, pieces);
    ASSERT_EQ(whole.ids, pieces.ids);
    if (whole.calls.empty()) {
      ASSERT_EQ(whole.text, text);
    }
  }
}

TEST(CallSyntax, IsToldByTheChatTemplate) {
  const auto name = [](std::string_view text) {
    const CallSyntax* syntax = FindCallSyntax("auto", text);
    return syntax == nullptr ? "" : std::string(syntax->name);
  };
  EXPECT_EQ(name("... <tool_call>\\n{\"name\": ..."), "hermes");
  EXPECT_EQ(name("{{- \"Environment: ipython\" }}"), "llama3_json");
  EXPECT_EQ(name("[TOOL_CALLS] ["), "mistral");
  EXPECT_EQ(name("<|tool_call|>"), "granite");
  EXPECT_EQ(name("<｜tool▁calls▁begin｜>"), "deepseek");
  EXPECT_EQ(name("<|im_start|>"), "");
  EXPECT_EQ(FindCallSyntax("none", "<tool_call>"), nullptr);
}

}  // namespace
}  // namespace quire
