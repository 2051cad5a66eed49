// What `quire serve` can be told.
#pragma once

#include <string>

#include "CLI/CLI.hpp"
#include "server/backend.h"
#include "server/kv_tiers.h"
#include "server/sessions/session_options.h"

namespace quire {

struct ServerOptions {
  BackendOptions backend;
  std::string host = "127.0.0.1";
  int port = 50051;      // Of gRPC. 0: any that is free.
  int http_port = 8080;  // The same; -1: no HTTP.
  std::string http_cors_origin;
  std::string tool_call_parser = "auto";  // See FindCallSyntax.
  std::string log_level = "info";
  std::string tenants;        // A file that names them (see ParseTenants); empty: there is one, and no keys.
  std::string tenant_header;  // In lower case; whom it names is believed. Empty: none is.
  std::string request_log;  // A file, or "-" for standard output; empty: none.
  int drain_timeout_seconds = 30;
  KvTierOptions kv_tiers;
  SessionOptions sessions;
};

// Adds the flags to `command`. `options` outlives the parsing.
void AddServerFlags(CLI::App& command, ServerOptions& options);

// Call it once `command` was parsed: fills in what environment and configuration file say, and checks what lies between
// options. Throws CLI::ParseError with a message that names the flag.
void CompleteServerOptions(CLI::App& command, const ServerOptions& options);

}  // namespace quire
