#include "server/cli/chat.h"

#include <memory>
#include <string>

#include "quire/v1/inference.pb.h"
#include "server/cli/chat_history.h"
#include "server/cli/chat_session.h"
#include "server/cli/interrupt_watcher.h"
#include "server/cli/line_editor.h"

namespace quire {
namespace {

struct ChatOptions {
  std::string target = "127.0.0.1:50051";
  std::string model;
  std::string system;
  float temperature = 0.7f;
  float top_p = 0.95f;
  int max_tokens = 1024;
  uint64_t seed = 0;  // 0: the server draws one for each answer.
  std::string history_file = DefaultHistoryPath();
};

ChatHistory Begin(const ChatOptions& options) {
  v1::ChatRequest request;
  request.set_model(options.model);
  v1::SamplingParams& sampling = *request.mutable_sampling_params();
  sampling.set_temperature(options.temperature);
  sampling.set_top_p(options.top_p);
  sampling.set_max_tokens(options.max_tokens);
  if (options.seed != 0) sampling.set_seed(options.seed);
  ChatHistory history(std::move(request));
  history.SetSystem(options.system);
  return history;
}

int RunChat(const ChatOptions& options) {
  LineEditor editor(options.history_file);
  // At a terminal Ctrl-D leaves, and a Ctrl-C that came too late for an answer must not.
  InterruptWatcher& interrupts = *new InterruptWatcher(/*idle_exit=*/!editor.is_terminal());
  return ChatSession(options.target, Begin(options), editor, interrupts).Run();
}

}  // namespace

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
  command->add_option("--history-file", options->history_file, "Where lines are kept between runs; empty: nowhere")
      ->capture_default_str();
  command->callback([options, exit_code] { *exit_code = RunChat(*options); });
}

}  // namespace quire
