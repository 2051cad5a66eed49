// How requests end early and how the server ends: cancellation, deadlines, overload, drain.
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <thread>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "tests/e2e/server_process.h"

namespace quire {
namespace {

v1::GenerateRequest LongRequest() {
  v1::GenerateRequest request = GreedyRequest("Tell me a very long story.", 1500);
  request.mutable_sampling_params()->set_ignore_eos(true);
  return request;
}

TEST(Lifecycle, CancellingFreesThePages) {
  ServerProcess server;
  grpc::ClientContext context;
  auto stream = server.inference().Generate(&context, LongRequest());
  v1::GenerateResponse response;
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_GT(server.Stats().kv_pages_used(), 0);
  context.TryCancel();
  while (stream->Read(&response)) {
  }
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  const v1::Stats stats = server.WaitUntilIdle();
  EXPECT_EQ(stats.requests_running(), 0);
  EXPECT_EQ(stats.kv_pages_used(), 0);
  EXPECT_LT(stats.completion_tokens_total(), 1400u);
}

TEST(Lifecycle, ADeadlineEndsTheRequestAndFreesThePages) {
  ServerProcess server;
  const Completion completion = Generate(server.inference(), LongRequest(), std::chrono::milliseconds(500));
  EXPECT_EQ(completion.status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  const v1::Stats stats = server.WaitUntilIdle();
  EXPECT_EQ(stats.kv_pages_used(), 0);
  EXPECT_LT(stats.completion_tokens_total(), 1400u);
}

TEST(Lifecycle, BeyondItsQueueTheServerRefusesWithARetryHint) {
  ServerProcess server({"--max-num-seqs", "1", "--max-waiting-requests", "2"});
  std::atomic<int> refused = 0, with_hint = 0, with_pushback = 0;
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::thread> clients;
  for (int i = 0; i < 12; ++i) {
    contexts.push_back(std::make_unique<grpc::ClientContext>());
    clients.emplace_back([&, i] {
      auto stream = server.inference().Generate(contexts[i].get(), LongRequest());
      v1::GenerateResponse response;
      while (stream->Read(&response)) {
      }
      const grpc::Status status = stream->Finish();
      if (status.error_code() != grpc::StatusCode::RESOURCE_EXHAUSTED) return;
      ++refused;
      with_pushback += static_cast<int>(contexts[i]->GetServerTrailingMetadata().count("grpc-retry-pushback-ms"));
      google::rpc::Status details;
      ASSERT_TRUE(details.ParseFromString(status.error_details()));
      for (const auto& detail : details.details()) {
        google::rpc::RetryInfo retry;
        if (detail.UnpackTo(&retry) && retry.retry_delay().seconds() + retry.retry_delay().nanos() > 0) ++with_hint;
      }
    });
  }
  // Refusals come at once; the accepted ones are ended by us.
  for (int i = 0; i < 300 && refused < 9; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  for (const auto& context : contexts) context->TryCancel();
  for (std::thread& client : clients) client.join();
  // One runs and two wait; one more may have found a seat between two steps.
  EXPECT_GE(refused, 8);
  EXPECT_LE(refused, 10);
  EXPECT_EQ(with_hint, refused);
  EXPECT_EQ(with_pushback, refused);
  EXPECT_TRUE(server.Alive());
  EXPECT_EQ(server.WaitUntilIdle().kv_pages_used(), 0);
}

TEST(Lifecycle, AClientThatDoesNotReadDelaysNobody) {
  ServerProcess server;
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<grpc::ClientReader<v1::GenerateResponse>>> unread;
  for (int i = 0; i < 8; ++i) {
    v1::GenerateRequest request = LongRequest();
    request.mutable_sampling_params()->set_max_tokens(400);
    request.mutable_sampling_params()->set_logprobs(20);  // Large messages fill the flow-control window.
    contexts.push_back(std::make_unique<grpc::ClientContext>());
    unread.push_back(server.inference().Generate(contexts.back().get(), request));
  }
  const Completion completion = Generate(server.inference(), GreedyRequest("The capital of France is", 16));
  EXPECT_TRUE(completion.status.ok()) << completion.status.error_message();
  // The engine finishes the others' work although nobody has taken it.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(90);
  while (server.Stats().requests_running() > 0 && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  EXPECT_EQ(server.Stats().kv_pages_used(), 0);
  // And who reads late still gets everything.
  v1::GenerateResponse response;
  int tokens = 0;
  while (unread[0]->Read(&response)) tokens += response.token_ids_size();
  EXPECT_TRUE(unread[0]->Finish().ok());
  EXPECT_EQ(tokens, 400);
  for (size_t i = 1; i < unread.size(); ++i) {
    contexts[i]->TryCancel();
    unread[i]->Finish();
  }
}

TEST(Lifecycle, SigtermFinishesWhatRunsAndRefusesWhatComes) {
  ServerProcess server;
  v1::GenerateRequest request = LongRequest();
  request.mutable_sampling_params()->set_max_tokens(200);
  grpc::ClientContext context;
  auto stream = server.inference().Generate(&context, request);
  v1::GenerateResponse response;
  ASSERT_TRUE(stream->Read(&response));
  int tokens = response.token_ids_size();
  server.Signal(SIGTERM);
  // The signal is handled by another thread of the server; a few tokens later it has been.
  for (int i = 0; i < 20 && stream->Read(&response); ++i) tokens += response.token_ids_size();
  const Completion late = Generate(server.inference(), GreedyRequest("Hello", 4));
  EXPECT_EQ(late.status.error_code(), grpc::StatusCode::UNAVAILABLE) << late.status.error_message();
  while (stream->Read(&response)) tokens += response.token_ids_size();
  const grpc::Status status = stream->Finish();
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(tokens, 200);
  EXPECT_EQ(server.Wait(std::chrono::seconds(20)), 0);
}

TEST(Lifecycle, TheDrainIsBounded) {
  ServerProcess server({"--drain-timeout", "1"});
  grpc::ClientContext context;
  auto stream = server.inference().Generate(&context, LongRequest());
  v1::GenerateResponse response;
  ASSERT_TRUE(stream->Read(&response));
  server.Signal(SIGTERM);
  while (stream->Read(&response)) {
  }
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(server.Wait(std::chrono::seconds(20)), 0);
}

}  // namespace
}  // namespace quire
