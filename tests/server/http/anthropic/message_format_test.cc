#include "server/http/anthropic/message_format.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace quire {
namespace {

using ::testing::ElementsAre;

// News of an answer to a prompt of ten tokens, six of them cached.
GenerationDelta News(std::vector<AnswerPiece> pieces, FinishReason finish_reason = FinishReason::kNone) {
  GenerationDelta news;
  news.delta.pieces = std::move(pieces);
  news.delta.output.finish_reason = finish_reason;
  news.delta.output.last = finish_reason != FinishReason::kNone;
  news.delta.output.usage = {
      .prompt_tokens = 10, .cached_tokens = 6, .completion_tokens = news.delta.output.last ? 5 : 1};
  return news;
}

AnswerPiece Text(std::string text) { return {.text = std::move(text)}; }
AnswerPiece Call(std::string arguments) { return {.call = 0, .id = "i", .name = "f", .text = std::move(arguments)}; }

AnswerPiece More(std::string arguments) { return {.call = 0, .text = std::move(arguments)}; }

// What the events say, each as "<event> <data without type>".
std::vector<std::string> Events(const std::string& text) {
  std::vector<std::string> events;
  for (const absl::string_view event : absl::StrSplit(text, "\n\n", absl::SkipEmpty())) {
    const std::pair<std::string, std::string> lines = absl::StrSplit(event, absl::MaxSplits("\ndata: ", 1));
    Json data = Json::parse(lines.second);
    EXPECT_EQ(lines.first, absl::StrCat("event: ", data["type"].get<std::string>()));
    const std::string type = data["type"];
    data.erase("type");
    events.push_back(absl::StrCat(type, " ", data.dump()));
  }
  return events;
}

TEST(MessageFormat, PutsTextAndCallsIntoBlocks) {
  MessageFormat format("msg_1", "m");
  format.Collect(News({Text("a ")}));
  format.Collect(News({Text("b"), Call("{\"x\":")}));
  GenerationDelta last = News({More("1}")}, FinishReason::kStop);
  last.delta.ends_with_calls = true;
  format.Collect(std::move(last));
  EXPECT_EQ(
      format.Whole().dump(),
      R"({"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"a b"},)"
      R"({"type":"tool_use","id":"i","name":"f","input":{"x":1}}],"stop_reason":"tool_use","stop_sequence":null,)"
      R"("usage":{"input_tokens":4,"cache_creation_input_tokens":0,"cache_read_input_tokens":6,"output_tokens":5}})");
}

TEST(MessageFormat, TellsAStreamBlockByBlock) {
  MessageFormat format("msg_1", "m");
  std::string events;
  format.AppendEvents(News({Text("a")}), events);
  EXPECT_EQ(Events(events).size(), 4u) << "message_start, ping, content_block_start, content_block_delta";
  events.clear();
  format.AppendEvents(News({Text("b"), Call("")}), events);
  EXPECT_THAT(
      Events(events),
      ElementsAre(
          R"(content_block_delta {"index":0,"delta":{"type":"text_delta","text":"b"}})",
          R"(content_block_stop {"index":0})",
          R"(content_block_start {"index":1,"content_block":{"type":"tool_use","id":"i","name":"f","input":{}}})"));
  events.clear();
  GenerationDelta last = News({More("{}")}, FinishReason::kStop);
  last.delta.ends_with_calls = true;
  format.AppendEvents(std::move(last), events);
  format.AppendEnd(events);
  EXPECT_THAT(
      Events(events),
      ElementsAre(
          R"(content_block_delta {"index":1,"delta":{"type":"input_json_delta","partial_json":"{}"}})",
          R"(content_block_stop {"index":1})",
          R"(message_delta {"delta":{"stop_reason":"tool_use","stop_sequence":null},)"
          R"("usage":{"input_tokens":4,"cache_creation_input_tokens":0,"cache_read_input_tokens":6,"output_tokens":5}})",
          "message_stop {}"));
}

TEST(MessageFormat, SaysWhatEndedIt) {
  MessageFormat format("msg_1", "m");
  GenerationDelta news = News({}, FinishReason::kStop);
  news.delta.text = "a";
  news.delta.stop_string = "b";
  format.Collect(std::move(news));
  EXPECT_EQ(format.Whole()["content"].dump(), R"([{"type":"text","text":"a"}])");
  EXPECT_EQ(format.Whole()["stop_reason"], "stop_sequence");
  EXPECT_EQ(format.Whole()["stop_sequence"], "b");
  MessageFormat cut("msg_2", "m");
  cut.Collect(News({Call("{\"x\": [1, ")}, FinishReason::kLength));
  EXPECT_EQ(cut.Whole()["stop_reason"], "max_tokens");
  EXPECT_EQ(cut.Whole()["content"][0]["input"].dump(), "{}") << "half an argument is none";
}

TEST(MessageFormat, EndsAStreamThatFailsWithAnError) {
  std::string events;
  MessageFormat("msg_1", "m").AppendError(absl::UnavailableError("gone"), events);
  EXPECT_THAT(Events(events), ElementsAre(R"(error {"error":{"type":"overloaded_error","message":"gone"}})"));
}

}  // namespace
}  // namespace quire
