#include "server/bench/load/workload.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>

#include "server/bench/load/prompt_writer.h"

namespace quire {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Kind = WorkloadOptions::Kind;

std::string WriteFile(const std::string& name, const std::string& contents) {
  const std::string path = ::testing::TempDir() + "/" + name;
  std::ofstream(path) << contents;
  return path;
}

int Tokens(const LoadTurn& turn) {
  int tokens = 0;
  for (const PromptPiece& piece : turn.prompt) tokens += piece.num_tokens;
  return tokens;
}

std::vector<uint64_t> Keys(const LoadTurn& turn) {
  std::vector<uint64_t> keys;
  for (const PromptPiece& piece : turn.prompt) keys.push_back(piece.key);
  return keys;
}

TEST(Workload, OfRandomPromptsHasLengthsFromTheWholeRange) {
  const auto workload =
      MakeWorkload({.num_conversations = 500, .input_tokens = {3, 6}, .output_tokens = {1, 2}, .turns = 2});
  ASSERT_TRUE(workload.ok());
  EXPECT_EQ(workload->num_requests(), 1000);
  std::set<int> inputs, outputs;
  std::set<uint64_t> keys;
  for (const LoadConversation& conversation : workload->conversations) {
    for (const LoadTurn& turn : conversation.turns) {
      inputs.insert(Tokens(turn));
      outputs.insert(turn.output_tokens);
      keys.insert(turn.prompt.front().key);
    }
  }
  EXPECT_THAT(inputs, ElementsAre(3, 4, 5, 6));
  EXPECT_THAT(outputs, ElementsAre(1, 2));
  EXPECT_EQ(keys.size(), 1000u) << "two prompts are the same";
}

TEST(Workload, WithPrefixesBeginsEachConversationWithOneOfThem) {
  const auto workload = MakeWorkload({.num_conversations = 60, .prefix_tokens = 32, .num_prefixes = 3, .turns = 2});
  ASSERT_TRUE(workload.ok());
  std::set<uint64_t> prefixes;
  for (const LoadConversation& conversation : workload->conversations) {
    ASSERT_EQ(conversation.turns[0].prompt.size(), 2u);
    EXPECT_EQ(conversation.turns[0].prompt[0].num_tokens, 32);
    EXPECT_EQ(conversation.turns[1].prompt.size(), 1u);
    prefixes.insert(conversation.turns[0].prompt[0].key);
  }
  EXPECT_EQ(prefixes.size(), 3u);
}

TEST(Workload, LikeShareGptHasLongTailsWithinItsLimits) {
  const auto workload = MakeWorkload({.kind = Kind::kShareGpt, .num_conversations = 2000});
  ASSERT_TRUE(workload.ok());
  int longest = 0;
  int64_t prompt_tokens = 0;
  for (const LoadConversation& conversation : workload->conversations) {
    const LoadTurn& turn = conversation.turns.front();
    longest = std::max(longest, Tokens(turn));
    prompt_tokens += Tokens(turn);
    EXPECT_GE(turn.output_tokens, 4);
    EXPECT_LE(Tokens(turn) + turn.output_tokens, 2048);
  }
  EXPECT_GT(longest, 700);
  EXPECT_LE(longest, 1024);
  EXPECT_NEAR(prompt_tokens / 2000.0, 140, 30);
}

TEST(Workload, OfAShareGptFileTakesItsTurnsInOrder) {
  const std::string path = WriteFile("sharegpt.json", R"([
    {"id": "a", "conversations": [
      {"from": "human", "value": "What is a quire of paper, please?"},
      {"from": "gpt", "value": "Four sheets of paper, folded once, which make eight leaves."},
      {"from": "human", "value": "And what is a ream of paper then?"},
      {"from": "gpt", "value": "Twenty quires, which is five hundred sheets."}]},
    {"id": "b", "conversations": [{"from": "gpt", "value": "An answer to nothing that anybody asked."}]},
    {"id": "c", "conversations": [{"from": "human", "value": 7}, 9]}, 3])");
  const auto workload = MakeWorkload({.kind = Kind::kShareGpt, .path = path, .turns = 5});
  ASSERT_TRUE(workload.ok()) << workload.status();
  ASSERT_EQ(workload->conversations.size(), 1u);
  const std::vector<LoadTurn>& turns = workload->conversations[0].turns;
  ASSERT_EQ(turns.size(), 2u);
  EXPECT_EQ(turns[0].prompt[0].text, "What is a quire of paper, please?");
  EXPECT_EQ(turns[0].output_tokens, 14);
  EXPECT_EQ(turns[1].prompt[0].text, "And what is a ream of paper then?");

  const auto fixed = MakeWorkload({.kind = Kind::kShareGpt, .path = path, .output_tokens = {5, 5}});
  ASSERT_TRUE(fixed.ok());
  ASSERT_EQ(fixed->conversations[0].turns.size(), 1u);
  EXPECT_EQ(fixed->conversations[0].turns[0].output_tokens, 5);
}

TEST(Workload, OfATraceSharesBlocksAndKeepsTimes) {
  const std::string path =
      WriteFile("trace.jsonl", R"({"timestamp": 5000, "input_length": 1100, "output_length": 9, "hash_ids": [1, 2, 4]}
{"timestamp": 1000, "input_length": 1000, "output_length": 7, "hash_ids": [1, 2]}

{"timestamp": 2000, "input_length": 600, "output_length": 8, "hash_ids": [1], "chat_id": 3}
)");
  const auto workload = MakeWorkload({.kind = Kind::kMooncake, .path = path, .time_scale = 0.5});
  ASSERT_TRUE(workload.ok()) << workload.status();
  ASSERT_EQ(workload->conversations.size(), 3u);
  EXPECT_TRUE(workload->has_start_times);
  const auto turn = [&](int i) { return workload->conversations[i].turns.front(); };
  EXPECT_EQ(workload->conversations[0].start_s, 0);
  EXPECT_EQ(workload->conversations[1].start_s, 0.5);
  EXPECT_EQ(workload->conversations[2].start_s, 2);
  EXPECT_EQ(Tokens(turn(0)), 1000);
  EXPECT_EQ(Tokens(turn(1)), 600);
  EXPECT_EQ(Tokens(turn(2)), 1100);
  EXPECT_EQ(turn(2).output_tokens, 9);
  // The last block of a prompt may be partial, and what the ids do not cover is the request's own.
  EXPECT_EQ(Keys(turn(0))[0], Keys(turn(2))[0]);
  EXPECT_EQ(Keys(turn(0))[1], Keys(turn(2))[1]);
  EXPECT_EQ(turn(0).prompt[1].num_tokens, 488);
  EXPECT_EQ(turn(2).prompt[1].num_tokens, 512);
  ASSERT_EQ(turn(1).prompt.size(), 2u);
  EXPECT_EQ(Keys(turn(1))[0], Keys(turn(0))[0]);
  EXPECT_NE(Keys(turn(1))[1], Keys(turn(0))[1]);

  const auto small =
      MakeWorkload({.kind = Kind::kMooncake, .path = path, .num_conversations = 2, .length_scale = 1.0 / 16});
  ASSERT_TRUE(small.ok());
  ASSERT_EQ(small->conversations.size(), 2u);
  EXPECT_EQ(small->conversations[1].turns[0].prompt[0].num_tokens, 32);
}

TEST(Workload, NamesTheFileAndThePlaceOfWhatIsWrong) {
  const std::pair<const char*, const char*> traces[] = {
      {"{\"timestamp\": 0, \"input_length\": 0, \"output_length\": 1}", "input_length"},
      {"{\"timestamp\": 0, \"input_length\": 1, \"output_length\": 1e99}", "output_length"},
      {"{\"timestamp\": -1, \"input_length\": 1, \"output_length\": 1}", "timestamp"},
      {"{\"timestamp\": 0, \"input_length\": 1, \"output_length\": 1, \"hash_ids\": [-1]}", "hash_ids"},
      {"{\"timestamp\": 0", "JSON"},
      {"[]", "JSON"},
  };
  for (const auto& [line, named] : traces) {
    const std::string path = WriteFile("wrong.jsonl", std::string("\n") + line + "\n");
    const auto workload = MakeWorkload({.kind = Kind::kMooncake, .path = path});
    EXPECT_THAT(workload.status().message(), AllOf(HasSubstr(path), HasSubstr("line 2"), HasSubstr(named)));
  }
  EXPECT_THAT(MakeWorkload({.kind = Kind::kMooncake}).status().message(), HasSubstr("--dataset-path"));
  EXPECT_THAT(MakeWorkload({.kind = Kind::kShareGpt, .path = "no-such-file"}).status().message(),
              HasSubstr("no-such-file"));
  for (const char* text : {"{}", "[", "[]", "null", "[{\"conversations\": []}]", "[[[[", "\"\\xff\""}) {
    const std::string path = WriteFile("wrong.json", text);
    EXPECT_THAT(MakeWorkload({.kind = Kind::kShareGpt, .path = path}).status().message(), HasSubstr(path)) << text;
  }
}

TEST(PromptWriter, WritesEqualPiecesAlike) {
  const PromptWriter ids(PromptForm::kTokenIds, 1000);
  const Passage one = ids.Write({{.key = 1, .num_tokens = 50}, {.key = 2, .num_tokens = 10}});
  const Passage other = ids.Write({{.key = 1, .num_tokens = 50}, {.key = 3, .num_tokens = 10}});
  ASSERT_EQ(one.token_ids.size(), 60u);
  EXPECT_TRUE(std::equal(one.token_ids.begin(), one.token_ids.begin() + 50, other.token_ids.begin()));
  EXPECT_FALSE(std::equal(one.token_ids.begin() + 50, one.token_ids.end(), other.token_ids.begin() + 50));
  for (const int32_t id : one.token_ids) {
    EXPECT_GE(id, 256);
    EXPECT_LT(id, 1000);
  }
  const PromptWriter text(PromptForm::kText, 0);
  const std::string words = text.Write({{.key = 1, .num_tokens = 20}}).text;
  EXPECT_EQ(std::count(words.begin(), words.end(), ' '), 20);
  EXPECT_EQ(text.Write({{.key = 1, .num_tokens = 20}}).text, words);
  EXPECT_EQ(text.Write({{.text = "As it is."}}).text, "As it is.");
}

}  // namespace
}  // namespace quire
