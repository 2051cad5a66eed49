// Many clients at once: each gets what it would have got alone.
#include <gtest/gtest.h>

#include <thread>

#include "tests/e2e/server_process.h"

namespace quire {
namespace {

// 64 requests of different lengths, half greedy, half sampled, with a common beginning.
std::vector<v1::GenerateRequest> MixedRequests() {
  std::vector<v1::GenerateRequest> requests;
  for (int i = 0; i < 64; ++i) {
    std::string prompt = "You are a helpful assistant who answers briefly and to the point. ";
    for (int j = 0; j < i % 7; ++j) prompt += "Please take your time and think about it. ";
    prompt += "Question number " + std::to_string(i) + ": what is " + std::to_string(i) + " plus one? Answer:";
    v1::GenerateRequest request = GreedyRequest(prompt, 8 + i % 9);
    request.mutable_sampling_params()->set_ignore_eos(true);
    if (i % 2 == 1) {
      request.mutable_sampling_params()->set_temperature(0.9f);
      request.mutable_sampling_params()->set_top_p(0.9f);
      request.mutable_sampling_params()->set_seed(1000 + i);
    }
    requests.push_back(request);
  }
  return requests;
}

std::vector<std::vector<int32_t>> AllAtOnce(const ServerProcess& server,
                                            const std::vector<v1::GenerateRequest>& requests) {
  std::vector<std::vector<int32_t>> outputs(requests.size());
  std::vector<std::thread> clients;
  for (size_t i = 0; i < requests.size(); ++i) {
    clients.emplace_back([&, i] {
      const auto stub = v1::InferenceService::NewStub(server.NewChannel());
      const Completion completion = Generate(*stub, requests[i]);
      EXPECT_TRUE(completion.status.ok()) << "client " << i << ": " << completion.status.error_message();
      outputs[i] = completion.token_ids;
    });
  }
  for (std::thread& client : clients) client.join();
  return outputs;
}

std::vector<std::vector<int32_t>> OneByOne(ServerProcess& server, const std::vector<v1::GenerateRequest>& requests) {
  std::vector<std::vector<int32_t>> outputs;
  for (const v1::GenerateRequest& request : requests) {
    const Completion completion = Generate(server.inference(), request);
    EXPECT_TRUE(completion.status.ok()) << completion.status.error_message();
    outputs.push_back(completion.token_ids);
  }
  return outputs;
}

TEST(Concurrency, SixtyFourClientsGetTheirIsolatedOutputs) {
  const std::vector<v1::GenerateRequest> requests = MixedRequests();
  std::vector<std::vector<int32_t>> isolated;
  {
    ServerProcess cold({"--no-enable-prefix-caching"});
    isolated = OneByOne(cold, requests);
  }
  ServerProcess server;
  EXPECT_EQ(AllAtOnce(server, requests), isolated);
  // Once more with everything cached.
  EXPECT_EQ(AllAtOnce(server, requests), isolated);
  EXPECT_EQ(server.WaitUntilIdle().kv_pages_used(), 0);
}

TEST(Concurrency, APoolTooSmallForAllPreemptsAndStillAnswersRight) {
  std::vector<v1::GenerateRequest> requests = MixedRequests();
  requests.resize(24);
  for (v1::GenerateRequest& request : requests) request.mutable_sampling_params()->set_max_tokens(48);
  std::vector<std::vector<int32_t>> isolated;
  {
    ServerProcess roomy;
    isolated = OneByOne(roomy, requests);
  }
  // 24 pages of 16 tokens hold two or three of these sequences.
  ServerProcess tiny({"--kv-cache-memory", "8640KiB", "--block-size", "16", "--max-model-len", "256"});
  EXPECT_EQ(AllAtOnce(tiny, requests), isolated);
  const v1::Stats stats = tiny.WaitUntilIdle();
  EXPECT_LE(stats.kv_pages_total(), 24);
  EXPECT_GT(stats.preemptions_total(), 0u);
  EXPECT_EQ(stats.kv_pages_used(), 0);
}

}  // namespace
}  // namespace quire
