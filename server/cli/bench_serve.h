// `quire bench serve`: load on a running server, over gRPC or HTTP, with the flags that `vllm bench serve` has.
#pragma once

#include "CLI/CLI.hpp"

namespace quire {

void AddBenchServeCommand(CLI::App& bench, int* exit_code);

}  // namespace quire
