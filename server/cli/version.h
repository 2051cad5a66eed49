// `quire version`.
#pragma once

#include "CLI/CLI.hpp"

namespace quire {

// Adds the subcommand; when it is chosen, it prints and stores the process's exit code.
void AddVersionCommand(CLI::App& app, int* exit_code);

}  // namespace quire
