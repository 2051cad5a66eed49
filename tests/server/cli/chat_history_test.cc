#include "server/cli/chat_history.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

namespace quire {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

// "role: content" of each message.
std::vector<std::string> Messages(const ChatHistory& history) {
  std::vector<std::string> out;
  for (const v1::ChatMessage& m : history.request().messages()) out.push_back(m.role() + ": " + m.content());
  return out;
}

TEST(ChatHistory, TheSystemMessageStaysFirstAndSurvivesAReset) {
  ChatHistory history((v1::ChatRequest()));
  history.AddQuestion("one");
  history.AddAnswer("two");
  history.SetSystem("be brief");
  EXPECT_THAT(Messages(history), ElementsAre("system: be brief", "user: one", "assistant: two"));
  history.SetSystem("be long");
  EXPECT_THAT(Messages(history), ElementsAre("system: be long", "user: one", "assistant: two"));
  history.Reset();
  EXPECT_THAT(Messages(history), ElementsAre("system: be long"));
  history.SetSystem("");
  EXPECT_THAT(Messages(history), ElementsAre());
}

TEST(ChatHistory, OnlyAnAnswerCanBeTakenBack) {
  ChatHistory history((v1::ChatRequest()));
  EXPECT_FALSE(history.DropAnswer());
  history.AddQuestion("one");
  EXPECT_FALSE(history.DropAnswer());
  history.AddAnswer("two");
  EXPECT_TRUE(history.DropAnswer());
  EXPECT_THAT(Messages(history), ElementsAre("user: one"));
}

TEST(ChatHistory, ParametersAreSetByTheirNamesOnTheWire) {
  ChatHistory history((v1::ChatRequest()));
  EXPECT_TRUE(history.Set("temperature", "0.5").ok());
  EXPECT_TRUE(history.Set("top_k", "-1").ok());
  EXPECT_TRUE(history.Set("seed", "18446744073709551615").ok());
  EXPECT_TRUE(history.Set("ignore_eos", "true").ok());
  EXPECT_TRUE(history.Set("stop", "the end").ok());
  const v1::SamplingParams& params = history.request().sampling_params();
  EXPECT_FLOAT_EQ(params.temperature(), 0.5f);
  EXPECT_EQ(params.top_k(), -1);
  EXPECT_EQ(params.seed(), UINT64_MAX);
  EXPECT_TRUE(params.ignore_eos());
  EXPECT_THAT(params.stop(), ElementsAre("the end"));
  EXPECT_THAT(history.DescribeParameters(),
              AllOf(HasSubstr("temperature 0.5\n"), HasSubstr("stop \"the end\"\n"), HasSubstr("min_p default\n")));
  EXPECT_TRUE(history.Set("temperature", "default").ok());
  EXPECT_TRUE(history.Set("stop", "default").ok());
  EXPECT_FALSE(params.has_temperature());
  EXPECT_THAT(params.stop(), ElementsAre());
}

TEST(ChatHistory, AWrongParameterIsToldWhatWouldBeRight) {
  ChatHistory history((v1::ChatRequest()));
  EXPECT_THAT(std::string(history.Set("temprature", "1").message()),
              AllOf(HasSubstr("temprature"), HasSubstr("temperature, top_p"), Not(HasSubstr("logprobs"))));
  EXPECT_THAT(std::string(history.Set("temperature", "warm").message()),
              AllOf(HasSubstr("temperature must be a number"), HasSubstr("warm")));
  EXPECT_THAT(std::string(history.Set("top_k", "1.5").message()), HasSubstr("a whole number"));
  EXPECT_THAT(std::string(history.Set("ignore_eos", "maybe").message()), HasSubstr("true or false"));
  EXPECT_FALSE(history.Set("n", "2").ok());
}

TEST(ChatHistory, WhatWasSavedIsLoaded) {
  const std::string path = ::testing::TempDir() + "/talk.json";
  v1::ChatRequest beginning;
  beginning.set_model("some-model");
  ChatHistory saved(beginning);
  saved.SetSystem("be \"brief\"");
  saved.AddQuestion("caf\u00e9?\nyes");
  saved.AddAnswer("no");
  ASSERT_TRUE(saved.Set("top_p", "0.25").ok());
  ASSERT_TRUE(saved.Save(path).ok());
  ChatHistory loaded((v1::ChatRequest()));
  ASSERT_TRUE(loaded.Load(path).ok());
  EXPECT_EQ(loaded.request().SerializeAsString(), saved.request().SerializeAsString());
}

TEST(ChatHistory, AFileThatIsNoneLeavesTheConversationAsItWas) {
  const std::string path = ::testing::TempDir() + "/no-talk.json";
  ChatHistory history((v1::ChatRequest()));
  history.AddQuestion("one");
  for (const char* content : {"", "{", "[]", "{\"messages\": 3}", "{\"unknown\": 3}", "\xff\xfe"}) {
    std::ofstream(path) << content;
    const absl::Status status = history.Load(path);
    EXPECT_FALSE(status.ok()) << content;
    EXPECT_THAT(std::string(status.message()), HasSubstr(path));
  }
  for (const std::string& unreadable : {::testing::TempDir() + "/absent.json", ::testing::TempDir()}) {
    EXPECT_THAT(std::string(history.Load(unreadable).message()), HasSubstr(unreadable));
    EXPECT_THAT(std::string(history.Save(unreadable + "/").message()), HasSubstr(unreadable));
  }
  EXPECT_THAT(Messages(history), ElementsAre("user: one"));
}

}  // namespace
}  // namespace quire
