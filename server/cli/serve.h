// `quire serve MODEL`: the server.
#pragma once

#include "CLI/CLI.hpp"
#include "server/server_options.h"

namespace quire {

// Adds the subcommand; when it is chosen, it runs and stores the process's exit code.
void AddServeCommand(CLI::App& app, int* exit_code);

// Serves until SIGTERM or SIGINT, then drains. 0: ended in good order. 1: could not serve. 2: an option is wrong.
int RunServe(const ServerOptions& options);

}  // namespace quire
