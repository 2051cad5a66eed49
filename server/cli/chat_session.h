// ChatSession: a conversation at a terminal, or out of a pipe: reads messages and commands, prints answers as they are
// made.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "quire/v1/inference.grpc.pb.h"
#include "server/cli/chat_history.h"
#include "server/cli/interrupt_watcher.h"
#include "server/cli/line_editor.h"

namespace quire {

class ChatSession {
 public:
  // `target` is host:port. The others outlive the session.
  ChatSession(const std::string& target, ChatHistory history, LineEditor& editor, InterruptWatcher& interrupts);

  // Until the input ends or "/quit". Answers go to standard output, everything else to standard error. The exit code:
  // 1 where nobody answers at the beginning, or where something went wrong and no person is there to see it.
  int Run();

 private:
  struct Command {
    const char* name;
    const char* argument;  // As /help shows it.
    const char* help;
    absl::Status (ChatSession::*run)(const std::string& argument);
  };
  static const Command kCommands[];

  absl::Status Greet();
  // False at the end of the input. An empty message means that there is nothing to do.
  bool ReadMessage(std::string* message);
  absl::Status Handle(const std::string& message);
  absl::Status Say(const std::string& text);
  // Goes on with `asked`, whose last message is a question, and its answer. Not OK: everything is as before.
  absl::Status Answer(ChatHistory asked);
  // Prints the answer as it comes, and returns it, as far as it came where Ctrl-C stopped it. CANCELLED: that was
  // before its first word.
  absl::StatusOr<std::string> Ask(const v1::ChatRequest& request);
  void ReportSpeed(const v1::Usage& usage, std::chrono::duration<double> elapsed,
                   std::chrono::duration<double> first) const;
  void Complain(const absl::Status& status) const;

  absl::Status RunCommand(const std::string& line);
  absl::Status Help(const std::string& argument);
  absl::Status Reset(const std::string& argument);
  absl::Status System(const std::string& argument);
  absl::Status Set(const std::string& argument);
  absl::Status Parameters(const std::string& argument);
  absl::Status Retry(const std::string& argument);
  absl::Status History(const std::string& argument);
  absl::Status Save(const std::string& argument);
  absl::Status Load(const std::string& argument);
  absl::Status Quit(const std::string& argument);

  const std::string target_;
  ChatHistory history_;
  LineEditor& editor_;
  InterruptWatcher& interrupts_;
  std::unique_ptr<v1::InferenceService::Stub> stub_;
  bool quit_ = false;
};

}  // namespace quire
