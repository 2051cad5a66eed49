// `quire bench`: how fast this machine serves, offline in this process or over gRPC against a running server.
#pragma once

#include "CLI/CLI.hpp"

namespace quire {

void AddBenchCommand(CLI::App& app, int* exit_code);

}  // namespace quire
