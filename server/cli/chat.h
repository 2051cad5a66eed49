// `quire chat`: talk to a running server from a terminal, the answer appearing as it is made.
#pragma once

#include <string>

#include "CLI/CLI.hpp"

namespace quire {

struct ChatOptions {
  std::string target = "127.0.0.1:50051";
  std::string model;
  std::string system;
  float temperature = 0.7f;
  float top_p = 0.95f;
  int max_tokens = 1024;
  uint64_t seed = 0;  // 0: the server draws one.
};

// Adds the subcommand; when it is chosen, it runs and stores the process's exit code.
void AddChatCommand(CLI::App& app, int* exit_code);

// Reads lines from standard input until it ends or "/exit"; prints answers to standard output, everything else to
// standard error. Ctrl-C stops the answer; at the prompt it leaves. Returns the exit code.
int RunChat(const ChatOptions& options);

}  // namespace quire
