#include "server/cli/version.h"

#include <grpcpp/grpcpp.h>

#include <cstdio>

#include "server/version.h"

namespace quire {

void AddVersionCommand(CLI::App& app, int* exit_code) {
  app.add_subcommand("version", "Print the version")->callback([exit_code] {
    std::printf("quire %s (gRPC %s)\n", kVersion, grpc::Version().c_str());
    *exit_code = 0;
  });
}

}  // namespace quire
