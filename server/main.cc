// quire: one program, a subcommand for each thing that it does.
#include "CLI/CLI.hpp"
#include "server/cli/bench.h"
#include "server/cli/cache.h"
#include "server/cli/chat.h"
#include "server/cli/plan.h"
#include "server/cli/serve.h"
#include "server/cli/version.h"

int main(int argc, char** argv) {
  CLI::App app("quire: a server for large language models");
  app.require_subcommand(1);
  int exit_code = 0;
  quire::AddServeCommand(app, &exit_code);
  quire::AddChatCommand(app, &exit_code);
  quire::AddBenchCommand(app, &exit_code);
  quire::AddCacheCommand(app, &exit_code);
  quire::AddPlanCommand(app, &exit_code);
  quire::AddVersionCommand(app, &exit_code);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    app.exit(error);
    return 2;
  }
  return exit_code;
}
