// `quire chat`: talk to a running server from a terminal, the answer appearing as it is made.
#pragma once

#include "CLI/CLI.hpp"

namespace quire {

// Adds the subcommand; when it is chosen, it runs and stores the process's exit code.
void AddChatCommand(CLI::App& app, int* exit_code);

}  // namespace quire
