#include "server/bench/load_bench.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "quire/v1/inference.grpc.pb.h"

namespace quire {
namespace {

using Clock = std::chrono::steady_clock;

double MillisecondsBetween(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double, std::milli>(to - from).count();
}

struct Samples {
  std::vector<double> ttft, tpot, itl, e2el;
};

// What all clients share; `mutex` guards `samples` and `result`.
struct Run {
  const LoadBenchOptions& options;
  const std::function<void(float)>& progress;
  int vocab_size;
  std::vector<int32_t> prefix = {};
  std::atomic<int> requests_done{0};
  std::mutex mutex = {};
  Samples samples = {};
  LoadBenchResult result = {};
};

void AppendRandomTokens(std::mt19937_64& random, int vocab_size, int count, std::vector<int32_t>* tokens) {
  // The first ids are control tokens in every vocabulary we know; a prompt of them would be an odd one.
  std::uniform_int_distribution<int32_t> token(std::min(256, vocab_size - 1), vocab_size - 1);
  for (int i = 0; i < count; ++i) tokens->push_back(token(random));
}

v1::GenerateRequest MakeRequest(const Run& run, std::mt19937_64& random) {
  std::vector<int32_t> prompt = run.prefix;
  AppendRandomTokens(random, run.vocab_size, run.options.input_tokens, &prompt);
  v1::GenerateRequest request;
  request.mutable_token_ids()->mutable_ids()->Add(prompt.begin(), prompt.end());
  request.mutable_sampling_params()->set_temperature(0);
  request.mutable_sampling_params()->set_max_tokens(run.options.output_tokens);
  request.mutable_sampling_params()->set_ignore_eos(true);
  return request;
}

void SendOne(Run& run, v1::InferenceService::Stub& stub, const v1::GenerateRequest& request) {
  grpc::ClientContext context;
  std::vector<Clock::time_point> arrivals;
  int tokens = 0;
  v1::GenerateResponse response;
  v1::Usage usage;
  const Clock::time_point sent = Clock::now();
  auto stream = stub.Generate(&context, request);
  while (stream->Read(&response)) {
    if (response.token_ids_size() > 0) arrivals.push_back(Clock::now());
    tokens += response.token_ids_size();
    if (response.has_usage()) usage = response.usage();
  }
  const grpc::Status status = stream->Finish();

  std::lock_guard lock(run.mutex);
  if (!status.ok() || arrivals.empty()) {
    if (run.result.failed++ == 0) run.result.first_error = status.ok() ? "no tokens came" : status.error_message();
    return;
  }
  ++run.result.completed;
  run.result.input_tokens += usage.prompt_tokens();
  run.result.cached_tokens += usage.cached_tokens();
  run.result.output_tokens += tokens;
  const double ttft = MillisecondsBetween(sent, arrivals.front());
  const double e2el = MillisecondsBetween(sent, arrivals.back());
  run.samples.ttft.push_back(ttft);
  run.samples.e2el.push_back(e2el);
  if (tokens > 1) run.samples.tpot.push_back((e2el - ttft) / (tokens - 1));
  for (size_t i = 1; i < arrivals.size(); ++i) {
    run.samples.itl.push_back(MillisecondsBetween(arrivals[i - 1], arrivals[i]));
  }
}

void RunClient(Run& run, v1::InferenceService::Stub& stub, int client) {
  std::mt19937_64 random(run.options.seed * 1000003 + client);
  const int total = run.options.clients * run.options.requests_per_client;
  for (int i = 0; i < run.options.requests_per_client; ++i) {
    SendOne(run, stub, MakeRequest(run, random));
    const int done = run.requests_done.fetch_add(1) + 1;
    if (run.progress) run.progress(static_cast<float>(done) / static_cast<float>(total));
  }
}

}  // namespace

absl::StatusOr<LoadBenchResult> RunLoadBench(const LoadBenchOptions& options,
                                             const std::function<void(float)>& progress) {
  const auto stub =
      v1::InferenceService::NewStub(grpc::CreateChannel(options.target, grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  v1::ListModelsResponse models;
  const grpc::Status listed = stub->ListModels(&context, {}, &models);
  if (!listed.ok() || models.models_size() == 0) {
    return absl::UnavailableError(absl::StrCat("no server at ", options.target, ": ", listed.error_message()));
  }

  Run run{options, progress, models.models(0).vocab_size()};
  std::mt19937_64 random(options.seed);
  AppendRandomTokens(random, run.vocab_size, options.prefix_tokens, &run.prefix);

  const Clock::time_point start = Clock::now();
  std::vector<std::thread> clients;
  for (int i = 0; i < options.clients; ++i) clients.emplace_back([&run, &stub, i] { RunClient(run, *stub, i); });
  for (std::thread& client : clients) client.join();

  LoadBenchResult result = std::move(run.result);
  result.duration_s = MillisecondsBetween(start, Clock::now()) / 1e3;
  result.ttft = Summarize(std::move(run.samples.ttft));
  result.tpot = Summarize(std::move(run.samples.tpot));
  result.itl = Summarize(std::move(run.samples.itl));
  result.e2el = Summarize(std::move(run.samples.e2el));
  return result;
}

}  // namespace quire
