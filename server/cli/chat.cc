#include "server/cli/chat.h"

#include <grpcpp/grpcpp.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <iostream>
#include <memory>
#include <mutex>
#include <thread>

#include "quire/v1/inference.grpc.pb.h"

namespace quire {
namespace {

// Turns SIGINT into "cancel the answer in flight, or leave when there is none". A thread waits for the signal, so
// nothing runs in a signal handler. Never destroyed: the thread lives as long as the process.
class InterruptWatcher {
 public:
  InterruptWatcher() {
    sigset_t interrupts;
    sigemptyset(&interrupts);
    sigaddset(&interrupts, SIGINT);
    // Threads made from here on inherit the mask, so only the watcher sees the signal.
    pthread_sigmask(SIG_BLOCK, &interrupts, nullptr);
    std::thread([this, interrupts] {
      int signal = 0;
      while (sigwait(&interrupts, &signal) == 0) OnInterrupt();
    }).detach();
  }

  void Watch(grpc::ClientContext* context) {
    std::lock_guard lock(mutex_);
    context_ = context;
  }

 private:
  void OnInterrupt() {
    std::lock_guard lock(mutex_);
    if (context_ == nullptr) {
      std::fputs("\n", stderr);
      std::_Exit(130);
    }
    context_->TryCancel();
  }

  std::mutex mutex_;
  grpc::ClientContext* context_ = nullptr;
};

class Conversation {
 public:
  Conversation(const ChatOptions& options, InterruptWatcher& interrupts)
      : options_(options),
        interrupts_(interrupts),
        stub_(v1::InferenceService::NewStub(grpc::CreateChannel(options.target, grpc::InsecureChannelCredentials()))) {
    Clear();
  }

  void Clear() {
    request_.Clear();
    request_.set_model(options_.model);
    v1::SamplingParams& sampling = *request_.mutable_sampling_params();
    sampling.set_temperature(options_.temperature);
    sampling.set_top_p(options_.top_p);
    sampling.set_max_tokens(options_.max_tokens);
    if (options_.seed != 0) sampling.set_seed(options_.seed);
    if (!options_.system.empty()) AddMessage("system", options_.system);
  }

  // Sends the user's words and prints the answer. Not OK: the turn did not happen and is not part of the history.
  grpc::Status Say(const std::string& text) {
    AddMessage("user", text);
    grpc::ClientContext context;
    interrupts_.Watch(&context);
    const auto start = std::chrono::steady_clock::now();
    auto stream = stub_->Chat(&context, request_);
    std::string answer;
    v1::GenerateResponse response;
    while (stream->Read(&response)) {
      answer += response.text();
      std::fputs(response.text().c_str(), stdout);
      std::fflush(stdout);
    }
    const grpc::Status status = stream->Finish();
    interrupts_.Watch(nullptr);
    std::fputs("\n", stdout);
    const bool interrupted = status.error_code() == grpc::StatusCode::CANCELLED;
    if (!status.ok() && !interrupted) {
      request_.mutable_messages()->RemoveLast();
      return status;
    }
    AddMessage("assistant", answer);
    if (!interrupted && isatty(STDERR_FILENO)) ReportSpeed(response.usage(), std::chrono::steady_clock::now() - start);
    return grpc::Status::OK;
  }

 private:
  void AddMessage(const std::string& role, const std::string& content) {
    v1::ChatMessage& message = *request_.add_messages();
    message.set_role(role);
    message.set_content(content);
  }

  static void ReportSpeed(const v1::Usage& usage, std::chrono::duration<double> elapsed) {
    std::fprintf(stderr, "[%d tokens, %.0f tok/s; prompt %d, of which cached %d]\n", usage.completion_tokens(),
                 usage.completion_tokens() / elapsed.count(), usage.prompt_tokens(), usage.cached_tokens());
  }

  const ChatOptions& options_;
  InterruptWatcher& interrupts_;
  std::unique_ptr<v1::InferenceService::Stub> stub_;
  v1::ChatRequest request_;
};

}  // namespace

int RunChat(const ChatOptions& options) {
  Conversation conversation(options, *new InterruptWatcher);
  const bool interactive = isatty(STDIN_FILENO) != 0;
  if (interactive) {
    std::fprintf(stderr, "Connected to %s. /clear starts over, /exit or Ctrl-D leaves, Ctrl-C stops an answer.\n",
                 options.target.c_str());
  }
  std::string line;
  while (true) {
    if (interactive) std::fputs("> ", stderr);
    if (!std::getline(std::cin, line)) break;
    if (line.empty()) continue;
    if (line == "/exit" || line == "/quit") break;
    if (line == "/clear") {
      conversation.Clear();
      continue;
    }
    if (const grpc::Status status = conversation.Say(line); !status.ok()) {
      std::fprintf(stderr, "error: %s\n", status.error_message().c_str());
      if (status.error_code() == grpc::StatusCode::UNAVAILABLE) {
        std::fprintf(stderr, "Is a server running at %s? Start one with: make serve\n", options.target.c_str());
      }
      // A script that pipes questions in must notice; a person can just try again.
      if (!interactive) return 1;
    }
  }
  return 0;
}

void AddChatCommand(CLI::App& app, int* exit_code) {
  auto options = std::make_shared<ChatOptions>();
  CLI::App* command = app.add_subcommand("chat", "Talk to a running server");
  command->add_option("--target", options->target, "host:port of the server")->capture_default_str();
  command->add_option("--model", options->model, "Model name; empty: the one that is served");
  command->add_option("--system", options->system, "System message; empty: the model's own default");
  command->add_option("--temperature", options->temperature, "0 is greedy")->capture_default_str();
  command->add_option("--top-p", options->top_p)->capture_default_str();
  command->add_option("--max-tokens", options->max_tokens, "Longest answer")->capture_default_str();
  command->add_option("--seed", options->seed, "Fixed seed; 0: a new one each time")->capture_default_str();
  command->callback([options, exit_code] { *exit_code = RunChat(*options); });
}

}  // namespace quire
