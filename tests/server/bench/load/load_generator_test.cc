// The generator on a clock and a server that exist in these tests alone.
#include "server/bench/load/load_generator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <utility>

namespace quire {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

using Seconds = std::chrono::duration<double>;

// Answers each request with one token a second after one for the prompt, with `service_slots` requests at once and the
// others waiting. Sending takes `send_s` of the caller's time.
class FakeServer : public Transport {
 public:
  int service_slots = 1000;
  double send_s = 0;
  std::string failing_prompt;
  std::vector<LoadRequest> requests;

  void Start(const LoadRequest& request, StreamObserver* observer) override {
    requests.push_back(request);
    now_s_ += send_s;
    waiting_.push_back({request, observer});
    Serve();
  }

  void Poll(LoadClock::time_point deadline) override {
    const double until = Seconds(deadline - LoadClock::time_point()).count();
    if (events_.empty() || events_.begin()->first > until) {
      now_s_ = std::max(now_s_, until);
      return;
    }
    const auto [at, event] = *events_.begin();
    events_.erase(events_.begin());
    now_s_ = std::max(now_s_, at);
    if (!event.last) return event.observer->OnTokens(1, {"w", {7}});
    ++service_slots;
    Serve();
    event.observer->OnDone(event.end);
  }

  LoadClock::time_point Now() const override {
    return LoadClock::time_point() + std::chrono::duration_cast<LoadClock::duration>(Seconds(now_s_));
  }
  const std::string& model() const override { return model_; }

 private:
  struct Event {
    StreamObserver* observer;
    bool last;
    StreamEnd end;
  };

  void Serve() {
    while (service_slots > 0 && !waiting_.empty()) {
      const auto [request, observer] = waiting_.front();
      waiting_.erase(waiting_.begin());
      --service_slots;
      double at = now_s_ + 1;
      StreamEnd end;
      end.usage.prompt_tokens = 10;
      if (!failing_prompt.empty() && request.passages.front().text == failing_prompt) {
        end.error_kind = "HTTP 429";
      } else {
        for (int i = 0; i < request.max_tokens; ++i) events_.insert({at++, {observer, false, {}}});
        --at;
      }
      events_.insert({at, {observer, true, end}});
    }
  }

  double now_s_ = 0;
  std::multimap<double, Event> events_;
  std::vector<std::pair<LoadRequest, StreamObserver*>> waiting_;
  const std::string model_ = "fake";
};

// Conversations whose turns are the letters of these words; each answer has so many tokens.
Workload Letters(const std::vector<std::string>& words, int output_tokens) {
  Workload workload;
  for (const std::string& word : words) {
    LoadConversation& conversation = workload.conversations.emplace_back();
    for (const char letter : word) conversation.turns.push_back({{{.text = std::string(1, letter)}}, output_tokens});
  }
  return workload;
}

LoadRun Play(FakeServer& server, const Workload& workload, const PacingOptions& pacing) {
  return RunLoad(workload, pacing, PromptWriter(PromptForm::kText, 0), server, {});
}

std::vector<double> Each(const LoadRun& run, double LoadRecord::*member) {
  std::vector<double> values;
  for (const LoadRecord& record : run.records) values.push_back(record.*member);
  return values;
}

TEST(LoadGenerator, RecordsEveryMessageOfAStream) {
  FakeServer server;
  const LoadRun run = Play(server, Letters({"a"}, 3), {.start_s = {2}});
  ASSERT_EQ(run.records.size(), 1u);
  EXPECT_EQ(run.records[0].intended_s, 2);
  EXPECT_EQ(run.records[0].sent_s, 2);
  EXPECT_THAT(run.records[0].message_s, ElementsAre(3, 4, 5));
  EXPECT_EQ(run.records[0].output_tokens, 3);
  EXPECT_EQ(run.records[0].usage.prompt_tokens, 10);
  EXPECT_EQ(run.duration_s, 5);
}

TEST(LoadGenerator, InAClosedLoopSendsWhenAClientIsFree) {
  FakeServer server;
  const LoadRun run = Play(server, Letters({"a", "b", "c", "d"}, 2), {.max_concurrency = 2});
  EXPECT_THAT(Each(run, &LoadRecord::sent_s), ElementsAre(0, 0, 2, 2));
  EXPECT_THAT(Each(run, &LoadRecord::intended_s), ElementsAre(0, 0, 2, 2));
}

TEST(LoadGenerator, InAnOpenLoopSendsWhetherOrNotTheServerKeepsUp) {
  FakeServer server;
  server.service_slots = 1;
  const LoadRun run = Play(server, Letters({"a", "b", "c"}, 2), {.start_s = {0, 0.5, 1}});
  EXPECT_THAT(Each(run, &LoadRecord::sent_s), ElementsAre(0, 0.5, 1));
  EXPECT_THAT(Each(run, &LoadRecord::end_s), ElementsAre(2, 4, 6));
}

TEST(LoadGenerator, ChargesWaitingForALimitToTheServerAndOwnsUpToBeingLate) {
  const auto expect = [](const PacingOptions& pacing, double send_s, const std::vector<double>& sent_s,
                         const std::vector<double>& lag_s) {
    FakeServer server;
    server.send_s = send_s;
    const LoadRun run = Play(server, Letters({"a", "b", "c"}, 2), pacing);
    EXPECT_EQ(Each(run, &LoadRecord::intended_s), pacing.start_s);
    EXPECT_EQ(Each(run, &LoadRecord::sent_s), sent_s);
    EXPECT_EQ(Each(run, &LoadRecord::lag_s), lag_s);
  };
  expect({.start_s = {0, 0.5, 1}, .max_concurrency = 1}, 0, {0, 2, 4}, {0, 0, 0});
  expect({.start_s = {0, 0, 0}}, 0.25, {0, 0.25, 0.5}, {0, 0.25, 0.5});
}

TEST(LoadGenerator, SendsATurnBehindAllThatWasSaid) {
  FakeServer server;
  const LoadRun run = Play(server, Letters({"ab"}, 2), {.start_s = {0}, .think_s = 10});
  ASSERT_EQ(server.requests.size(), 2u);
  std::vector<std::string> texts;
  for (const Passage& passage : server.requests[1].passages) texts.push_back(passage.text);
  EXPECT_THAT(texts, ElementsAre("a", "ww", "b"));
  EXPECT_THAT(server.requests[1].passages[1].token_ids, ElementsAre(7, 7));
  EXPECT_THAT(Each(run, &LoadRecord::intended_s), ElementsAre(0, 12));
}

TEST(LoadGenerator, GivesAConversationUpAfterAnError) {
  FakeServer server;
  server.failing_prompt = "x";
  const LoadRun run = Play(server, Letters({"xyz", "a"}, 1), {.max_concurrency = 1});
  ASSERT_EQ(run.records.size(), 2u);
  EXPECT_EQ(run.records[0].error_kind, "HTTP 429");
  EXPECT_EQ(run.records[1].error_kind, "");
  EXPECT_EQ(run.skipped, 2);
}

TEST(LoadGenerator, CallsAStreamWithoutTokensAnError) {
  FakeServer server;
  const LoadRun run = Play(server, Letters({"a"}, 0), {.start_s = {0}});
  EXPECT_EQ(run.records[0].error_kind, "no tokens");
}

TEST(LoadGenerator, ReportsProgressUpToTheEnd) {
  FakeServer server;
  std::vector<float> progress;
  RunLoad(Letters({"ab", "c"}, 1), {.max_concurrency = 1}, PromptWriter(PromptForm::kText, 0), server,
          [&](float done) { progress.push_back(done); });
  EXPECT_THAT(progress, ElementsAre(::testing::FloatNear(2 / 3.0f, 1e-6f), 1.0f));
}

TEST(LoadGenerator, OfNothingIsOverAtOnce) {
  FakeServer server;
  EXPECT_THAT(Play(server, {}, {.max_concurrency = 1}).records, IsEmpty());
}

}  // namespace
}  // namespace quire
