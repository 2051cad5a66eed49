// Starts the real server binary in a child process and talks to it.
#pragma once

#include <grpcpp/grpcpp.h>
#include <sys/types.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "quire/v1/admin.grpc.pb.h"
#include "quire/v1/inference.grpc.pb.h"

namespace quire {

// What a program printed and how it ended.
struct ProgramResult {
  int exit_code = -1;  // 128 + signal when a signal ended it.
  std::string output;  // Standard output and error, interleaved.
};

// Runs the binary with `arguments` to its end, `input` as its standard input.
ProgramResult RunQuire(const std::vector<std::string>& arguments, const std::string& input = "");

// A port that nothing listens on at the moment.
int FreePort();

class ServerProcess {
 public:
  // Starts `serve MODEL --port <free> --http-port -1` and waits until it answers.
  explicit ServerProcess(const std::vector<std::string>& extra_arguments = {});
  // Kills it if it still runs.
  ~ServerProcess();
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  const std::string& target() const { return target_; }
  pid_t pid() const { return pid_; }
  bool Alive();
  void Signal(int signal);
  // Waits for the end; the exit code, or -1 when it still runs after `timeout`.
  int Wait(std::chrono::seconds timeout);

  std::shared_ptr<grpc::Channel> NewChannel() const;
  v1::InferenceService::Stub& inference() { return *inference_; }
  v1::Stats Stats();
  // Polls Stats until no request is in the server; the last ones seen.
  v1::Stats WaitUntilIdle();

 private:
  std::string target_;
  pid_t pid_ = -1;
  std::unique_ptr<v1::InferenceService::Stub> inference_;
  std::unique_ptr<v1::AdminService::Stub> admin_;
};

// One whole stream.
struct Completion {
  grpc::Status status;
  std::string text;
  std::vector<int32_t> token_ids;
  std::vector<v1::TokenLogprob> logprobs;
  std::vector<v1::TokenLogprob> prompt_logprobs;
  v1::FinishReason finish_reason = v1::FINISH_REASON_UNSPECIFIED;
  v1::Usage usage;
  v1::Timings timings;
  v1::SessionState session;
  int messages = 0;
};

// All samples of the stream's index 0 unless `index` says otherwise.
Completion Generate(v1::InferenceService::Stub& stub, const v1::GenerateRequest& request,
                    std::chrono::milliseconds timeout = std::chrono::minutes(2), int index = 0);
Completion Chat(v1::InferenceService::Stub& stub, const v1::ChatRequest& request);

// A greedy request for `max_tokens` tokens after `text`.
v1::GenerateRequest GreedyRequest(const std::string& text, int max_tokens);

}  // namespace quire
