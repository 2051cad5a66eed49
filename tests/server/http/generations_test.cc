#include "server/http/generations.h"

#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>

#include "absl/synchronization/notification.h"
#include "tests/server/http/letters_server.h"

namespace quire {
namespace {

// With a log-probability for each, that is more than may pile up; without, less.
constexpr int kTokens = 4000;

PipelineRequest Long(int logprobs) {
  PipelineRequest request;
  request.prompt = std::string("go on");
  request.generate.sampling.temperature = 0;
  request.generate.sampling.ignore_eos = true;
  request.generate.sampling.max_tokens = kTokens;
  request.generate.sampling.logprobs = logprobs;
  return request;
}

TEST(Generations, AppendsNewsOfTheSameSample) {
  ResponseDelta first, second;
  first.text = "ab";
  first.output.tokens = {1, 2};
  first.output.prompt_logprobs = {{7, -1.0f, {}}};
  second.text = "c";
  second.output.tokens = {3};
  second.output.finish_reason = FinishReason::kStop;
  second.output.last = true;
  second.output.usage.completion_tokens = 3;
  Append(first, std::move(second));
  EXPECT_EQ(first.text, "abc");
  EXPECT_EQ(first.output.tokens, (std::vector<TokenId>{1, 2, 3}));
  EXPECT_EQ(first.output.prompt_logprobs.size(), 1u);
  EXPECT_EQ(first.output.finish_reason, FinishReason::kStop);
  EXPECT_EQ(first.output.usage.completion_tokens, 3);
}

class UnreadGenerationsTest : public ::testing::Test {
 protected:
  class LastDelta : public ResponseSink {
   public:
    void Deliver(ResponseDelta delta) override {
      if (delta.output.last) came_.Notify();
    }
    void Await() { came_.WaitForNotification(); }

   private:
    absl::Notification came_;
  };

  // Comes for news when all of it has piled up.
  asio::awaitable<void> ComeLate(int logprobs) {
    Generations generations(server_.pipeline(), io_.get_executor());
    const absl::Status started = generations.Start(Long(logprobs));
    EXPECT_TRUE(started.ok()) << started;
    AwaitEndOfAll();
    const absl::StatusOr<std::vector<GenerationDelta>> news = co_await generations.Next();
    status_ = news.status();
    if (news.ok()) tokens_ = news->at(0).delta.output.tokens.size();
  }

  // Until the engine has nothing to do, and then until a request of our own is over: what it says comes last.
  void AwaitEndOfAll() {
    while (server_.Stats().completion_tokens_total == 0 || server_.Stats().requests_running > 0) {
    }
    PipelineRequest request = Long(-1);
    request.generate.sampling.max_tokens = 1;
    LastDelta sink;
    ASSERT_TRUE(server_.pipeline().Start(std::move(request), &sink).ok());
    sink.Await();
    server_.pipeline().StreamOver();
  }

  void Run(int logprobs) {
    asio::co_spawn(io_, ComeLate(logprobs), asio::detached);
    io_.run();
    EXPECT_TRUE(server_.pipeline().AwaitNoStreams(absl::Now() + absl::Seconds(30)));
  }

  LettersServer server_;
  asio::io_context io_;
  size_t tokens_ = 0;
  absl::Status status_;
};

TEST_F(UnreadGenerationsTest, MergeWhatIsNotTaken) {
  Run(/*logprobs=*/-1);
  EXPECT_TRUE(status_.ok()) << status_;
  EXPECT_EQ(tokens_, static_cast<size_t>(kTokens));
}

TEST_F(UnreadGenerationsTest, EndARequestOfWhichTooMuchPilesUp) {
  Run(/*logprobs=*/20);
  EXPECT_TRUE(absl::IsResourceExhausted(status_)) << status_;
}

}  // namespace
}  // namespace quire
