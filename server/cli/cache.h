// `quire cache`: look into a running server's prefix cache, and say what is to stay and what is to go.
#pragma once

#include "CLI/CLI.hpp"

namespace quire {

// Adds the subcommand; when it is chosen, it runs and stores the process's exit code.
void AddCacheCommand(CLI::App& app, int* exit_code);

}  // namespace quire
