// The server's threads together, over the real engine and a model whose answers are known in advance.
#include "server/serving_pipeline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <future>
#include <mutex>
#include <thread>

#include "absl/time/clock.h"
#include "tests/block_manager/page_mirror.h"
#include "tests/server/letters_pipeline.h"

namespace quire {
namespace {

using ::testing::HasSubstr;

constexpr absl::Duration kPatience = absl::Seconds(60);

// Collects one request's answer and waits for its end.
class WaitingSink : public ResponseSink {
 public:
  void Deliver(ResponseDelta delta) override {
    std::lock_guard lock(mutex_);
    text_ += delta.text;
    tokens_.insert(tokens_.end(), delta.output.tokens.begin(), delta.output.tokens.end());
    if (delta.output.finish_reason != FinishReason::kNone) finish_reason_ = delta.output.finish_reason;
    if (delta.output.last) {
      EXPECT_FALSE(last_.has_value()) << "a second last delta";
      last_ = std::move(delta.output);
    }
    changed_.notify_all();
  }

  // The last output, once it has come.
  SequenceOutput AwaitLast() {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, absl::ToChronoSeconds(kPatience), [this] { return last_.has_value(); }));
    return last_.value_or(SequenceOutput());
  }
  void AwaitSomeToken() {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, absl::ToChronoSeconds(kPatience), [this] { return !tokens_.empty(); }));
  }
  // Once the last output has come.
  const std::string& text() const { return text_; }
  const std::vector<TokenId>& tokens() const { return tokens_; }
  FinishReason finish_reason() const { return finish_reason_; }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string text_;
  std::vector<TokenId> tokens_;
  FinishReason finish_reason_ = FinishReason::kNone;
  std::optional<SequenceOutput> last_;
};

class ServingPipelineTest : public ::testing::Test {
 protected:
  static constexpr int kMaxRequests = LettersPipeline::kMaxRequests;
  static constexpr int kMaxModelLen = LettersPipeline::kMaxModelLen;

  // Streams end with their last delta here; in the server they end when the client has read it.
  absl::StatusOr<RequestContextPtr> Start(Prompt prompt, int max_tokens, WaitingSink& sink,
                                          std::vector<std::string> stop = {}) {
    PipelineRequest request;
    request.prompt = std::move(prompt);
    request.generate.sampling.temperature = 0;
    request.generate.sampling.ignore_eos = true;
    request.generate.sampling.max_tokens = max_tokens;
    request.generate.sampling.stop = std::move(stop);
    return pipeline_->Start(std::move(request), &sink);
  }

  std::atomic<int> devices_lost_ = 0;
  LettersPipeline pipeline_{/*chat_template=*/nullptr, [this] { ++devices_lost_; }};
};

// More requests than run at once, so that some wait when it happens.
TEST_F(ServingPipelineTest, EndsEveryRequestWhenTheDeviceIsLost) {
  pipeline_.runner().FailNextStep(absl::UnavailableError("the device fell off the bus"));
  std::vector<WaitingSink> sinks(20);
  int started = 0;
  for (WaitingSink& sink : sinks) {
    if (!Start("tell me", 40, sink).ok()) break;  // It may have happened by now.
    ++started;
  }
  ASSERT_GT(started, 0);
  for (int i = 0; i < started; ++i) {
    const absl::Status status = sinks[i].AwaitLast().status;
    EXPECT_TRUE(absl::IsUnavailable(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("fell off the bus"));
    pipeline_->StreamOver();
  }
  WaitingSink late;
  EXPECT_TRUE(absl::IsUnavailable(Start("tell me", 40, late).status()));
  EXPECT_EQ(devices_lost_, 1);
}

TEST_F(ServingPipelineTest, AnswersManyClientsAtOnceAsIfEachWereAlone) {
  constexpr int kClients = 24;
  std::vector<WaitingSink> sinks(kClients);
  std::vector<std::thread> clients;
  for (int i = 0; i < kClients; ++i) {
    clients.emplace_back([this, i, &sink = sinks[i]] {
      ASSERT_TRUE(Start("a common beginning and then " + std::string(i % 5 + 1, 'x'), 10 + i, sink).ok());
      EXPECT_TRUE(sink.AwaitLast().status.ok());
      pipeline_->StreamOver();
    });
  }
  for (std::thread& client : clients) client.join();
  for (int i = 0; i < kClients; ++i) {
    EXPECT_EQ(sinks[i].tokens(),
              pipeline_.Expected("a common beginning and then " + std::string(i % 5 + 1, 'x'), 10 + i));
  }
  EXPECT_EQ(pipeline_.runner().violation(), "");
}

TEST_F(ServingPipelineTest, StopsAtAStopStringAndCountsUpToIt) {
  WaitingSink whole;
  ASSERT_TRUE(Start("tell me", 40, whole).ok());
  EXPECT_TRUE(whole.AwaitLast().status.ok());
  pipeline_->StreamOver();
  const std::string stop = whole.text().substr(12, 3);
  const std::string expected = whole.text().substr(0, whole.text().find(stop));

  WaitingSink stopped;
  ASSERT_TRUE(Start("tell me", 40, stopped, {stop}).ok());
  const SequenceOutput last = stopped.AwaitLast();
  pipeline_->StreamOver();
  EXPECT_EQ(stopped.text(), expected);
  EXPECT_EQ(stopped.finish_reason(), FinishReason::kStop);
  EXPECT_EQ(last.usage.completion_tokens, static_cast<int>(stopped.tokens().size()));
}

TEST_F(ServingPipelineTest, CancelsWhatRunsAndGivesItsPagesBack) {
  WaitingSink sink;
  const absl::StatusOr<RequestContextPtr> context = Start("a long story", kMaxModelLen - 100, sink);
  ASSERT_TRUE(context.ok());
  sink.AwaitSomeToken();
  pipeline_->Cancel(**context);
  EXPECT_TRUE(absl::IsCancelled(sink.AwaitLast().status));
  pipeline_->StreamOver();
  const EngineStats stats = pipeline_.Stats();
  EXPECT_EQ(stats.requests_running, 0);
  EXPECT_EQ(stats.blocks.used, 0);
}

TEST_F(ServingPipelineTest, TellsWhichPagesCanBeSharedAndHowThatChanges) {
  const auto run = [this](const std::string& text) {
    WaitingSink sink;
    ASSERT_TRUE(Start(text, 16, sink).ok());
    EXPECT_TRUE(sink.AwaitLast().status.ok());
    pipeline_->StreamOver();
  };
  run(std::string(32, 'a'));
  std::promise<std::pair<PageMirror, uint64_t>> before, after;
  const auto ask = [this](std::promise<std::pair<PageMirror, uint64_t>>& answer) {
    ASSERT_TRUE(pipeline_->GetSharedPages([&answer](std::vector<PageEvent> pages, uint64_t sequence) {
      answer.set_value({PageMirror(pages), sequence});
    }));
  };
  ask(before);
  run(std::string(32, 'b'));
  ask(after);
  auto [mirror, sequence] = before.get_future().get();
  const auto [expected, last] = after.get_future().get();
  EXPECT_EQ(mirror.size(), 2u);
  EXPECT_EQ(expected.size(), 4u);
  EXPECT_GT(last, sequence);
  while (sequence < last) {
    const absl::StatusOr<KvEventBatchPtr> batch = pipeline_->kv_events().Find(++sequence);
    ASSERT_TRUE(batch.ok()) << batch.status();
    mirror.Apply((*batch)->events);
  }
  EXPECT_EQ(mirror.error(), "");
  EXPECT_EQ(mirror, expected);
}

TEST_F(ServingPipelineTest, TellsWhatIsWrongWithATextAndGoesOn) {
  WaitingSink bad, throwing, good;
  ASSERT_TRUE(Start("no!", 4, bad).ok());
  ASSERT_TRUE(Start("what?", 4, throwing).ok());
  ASSERT_TRUE(Start("fine", 4, good).ok());
  const absl::Status status = bad.AwaitLast().status;
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("text"));
  EXPECT_TRUE(absl::IsInternal(throwing.AwaitLast().status));
  EXPECT_TRUE(good.AwaitLast().status.ok());
  for (int i = 0; i < 3; ++i) pipeline_->StreamOver();
}

TEST_F(ServingPipelineTest, GivesAnswersTheFormThatIsAskedForAndSaysWhatIsWrongWithOne) {
  const auto start = [this](const std::string& regex, WaitingSink& sink) {
    PipelineRequest request;
    request.prompt = "tell me";
    request.generate.sampling.max_tokens = 40;
    request.generate.sampling.ignore_eos = true;
    request.output_format = {.kind = OutputFormat::Kind::kRegex, .source = regex, .field = "form"};
    ASSERT_TRUE(pipeline_->Start(std::move(request), &sink).ok());
  };
  WaitingSink first, again, wrong;
  start("(abc ){3}", first);
  EXPECT_TRUE(first.AwaitLast().status.ok());
  start("(abc ){3}", again);  // Compiled already.
  start("(abc", wrong);
  EXPECT_TRUE(again.AwaitLast().status.ok());
  const absl::Status status = wrong.AwaitLast().status;
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("form cannot be used"));
  for (int i = 0; i < 3; ++i) pipeline_->StreamOver();
  for (const WaitingSink* sink : {&first, &again}) {
    EXPECT_EQ(sink->text(), "abc abc abc ");
    EXPECT_EQ(sink->finish_reason(), FinishReason::kStop);
  }
}

TEST_F(ServingPipelineTest, RefusesAConversationWhereTheModelHasNoTemplate) {
  WaitingSink sink;
  const Conversation conversation{.messages = Json::array({TextMessage("user", "hello")})};
  const absl::Status status = Start(conversation, 4, sink).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("it has none"));
  EXPECT_EQ(pipeline_->MakePromptTokens(conversation, "messages").status(), status);
}

TEST_F(ServingPipelineTest, TellsMetricsWhatBecameOfRequestsBeforeTheirClientsKnow) {
  WaitingSink good, bad, refused;
  ASSERT_TRUE(Start("fine", 4, good).ok());
  ASSERT_TRUE(good.AwaitLast().status.ok());
  const std::string rendered = pipeline_->metrics().Render();
  EXPECT_THAT(rendered, HasSubstr("vllm:generation_tokens_total{engine=\"0\",model_name=\"letters\"} 4\n"));
  EXPECT_THAT(rendered, HasSubstr("vllm:num_requests_running{engine=\"0\",model_name=\"letters\"} 0\n"));
  EXPECT_THAT(rendered, HasSubstr("finished_reason=\"length\",model_name=\"letters\"} 1\n"));
  EXPECT_THAT(rendered, HasSubstr("quire_streams_open 1\n"));
  pipeline_->StreamOver();

  ASSERT_TRUE(Start("no!", 4, bad).ok());
  EXPECT_FALSE(bad.AwaitLast().status.ok());
  pipeline_->StreamOver();
  EXPECT_FALSE(Start(Conversation{.messages = {TextMessage("user", "hello")}}, 4, refused).ok());
  const std::string later = pipeline_->metrics().Render();
  EXPECT_THAT(later, HasSubstr("quire_streams_open 0\n"));
  EXPECT_THAT(later, HasSubstr("quire_requests_total{protocol=\"quire\"} 3\n"));
  EXPECT_THAT(later, HasSubstr("quire_requests_refused_total{reason=\"invalid_request\"} 1\n"));
  EXPECT_THAT(later, HasSubstr("quire_requests_refused_total{reason=\"unsupported\"} 1\n"));
}

TEST_F(ServingPipelineTest, RefusesWhatIsTooMuchAndEndsAllWithTheReasonItIsGiven) {
  std::vector<WaitingSink> sinks(kMaxRequests);
  for (WaitingSink& sink : sinks) ASSERT_TRUE(Start("a long story", kMaxModelLen - 100, sink).ok());
  WaitingSink refused;
  EXPECT_TRUE(absl::IsResourceExhausted(Start("one more", 4, refused).status()));

  pipeline_->StopAdmitting();
  EXPECT_TRUE(absl::IsUnavailable(Start("too late", 4, refused).status()));
  EXPECT_FALSE(pipeline_->AwaitNoStreams(absl::Now()));
  pipeline_->CancelAll(absl::UnavailableError("closing"));
  for (WaitingSink& sink : sinks) {
    EXPECT_TRUE(absl::IsUnavailable(sink.AwaitLast().status));
    pipeline_->StreamOver();
  }
  EXPECT_TRUE(pipeline_->AwaitNoStreams(absl::Now() + kPatience));
}

}  // namespace
}  // namespace quire
