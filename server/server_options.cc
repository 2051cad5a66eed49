#include "server/server_options.h"

#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "server/cli/backend_flags.h"
#include "server/option_layers.h"
#include "server/tools/call_syntax.h"

namespace quire {
namespace {

// In lower case, as gRPC has them.
const CLI::Validator kHeaderName(
    [](std::string& name) -> std::string {
      for (char& c : name) {
        if (!absl::ascii_isalnum(c) && c != '-' && c != '_') return "must be letters, digits, - and _";
        c = absl::ascii_tolower(c);
      }
      return "";
    },
    "");

}  // namespace

namespace {

void AddSessionFlags(CLI::App& command, SessionOptions& options) {
  command.add_option("--max-sessions", options.max_sessions, "Conversations that the server keeps at once")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command
      .add_option_function<int>(
          "--session-idle-timeout", [&options](int seconds) { options.idle_timeout = absl::Seconds(seconds); },
          "Seconds after which a session in which nothing happens is over")
      ->check(CLI::Range(1, 30 * 86400))
      ->default_str("1800");
  command.add_option("--session-path", options.path, "Folder for snapshots of sessions; default: none can be taken");
}

}  // namespace

namespace {

void AddKvTierFlags(CLI::App& command, KvTierOptions& options) {
  command
      .add_option("--kv-host-memory", options.host_bytes,
                  "Memory of the host for KV pages that the pool has no room for, as 4GiB; meant for a GPU's pool")
      ->transform(CLI::AsSizeValue(/*kb_is_1000=*/false))
      ->check(CLI::PositiveNumber);
  command.add_option("--kv-disk-path", options.disk_path,
                     "File for KV pages, which a later server of the same model goes on with");
  command.add_option("--kv-disk-size", options.disk_bytes, "Size of that file at most, as 10GiB (default)")
      ->transform(CLI::AsSizeValue(/*kb_is_1000=*/false))
      ->check(CLI::PositiveNumber);
  command.add_flag("--kv-disk-recreate", options.disk_recreate,
                   "Replace a file that another model, layout or version of the server has left; otherwise refuse it");
}

}  // namespace

void AddServerFlags(CLI::App& command, ServerOptions& options) {
  BackendOptions& backend = options.backend;
  command.add_option("model,--model", backend.model_path, "Model file (GGUF)")->option_text("MODEL");
  command.add_option("--host", options.host, "Address to listen on")->capture_default_str();
  command.add_option("--port", options.port, "Port of gRPC; 0: any that is free")
      ->check(CLI::Range(0, 65535))
      ->capture_default_str();
  command.add_option("--http-port", options.http_port, "Port of HTTP; 0: any that is free, -1: no HTTP")
      ->check(CLI::Range(-1, 65535))
      ->capture_default_str();
  command.add_option("--http-cors-origin", options.http_cors_origin,
                     "Web pages of this origin may use the server; *: any page");
  command.add_option("--served-model-name", backend.model_name, "Name in requests; default: the file's name");
  command
      .add_option(
          "--max-model-len", backend.max_model_len,
          "Tokens of one sequence, prompt and answer; default: the model's own length, as far as KV memory allows")
      ->check(CLI::Range(2, 1 << 24));
  AddBackendFlags(command, backend);
  command.add_flag("--enable-prefix-caching,!--no-enable-prefix-caching", backend.enable_prefix_caching,
                   "Share the KV pages of equal prefixes (default: on)");
  AddKvTierFlags(command, options.kv_tiers);
  command.add_option("--max-waiting-requests", backend.max_waiting_requests, "Beyond that many, requests are refused")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command
      .add_option("--kv-max-pinned-share", backend.max_pinned_share,
                  "Share of the KV pages that pinned leases may hold, beside room for one sequence of --max-model-len")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  AddSessionFlags(command, options.sessions);
  std::vector<std::string> call_syntaxes = CallSyntaxNames();
  call_syntaxes.insert(call_syntaxes.end(), {"auto", "none"});
  command
      .add_option("--tool-call-parser", options.tool_call_parser,
                  "Form in which the model writes tool calls; auto: what its chat template shows")
      ->check(CLI::IsMember(call_syntaxes))
      ->capture_default_str();
  command
      .add_option("--drain-timeout", options.drain_timeout_seconds,
                  "Seconds that running requests have to finish after SIGTERM or SIGINT")
      ->check(CLI::Range(0, 86400))
      ->capture_default_str();
  command.add_option("--tenants", options.tenants,
                     "YAML file of tenants with their keys, weights and limits; every request then needs a key");
  command
      .add_option("--tenant-header", options.tenant_header,
                  "Header that says whose a request is, for a server that only a gateway can reach")
      ->transform(kHeaderName);
  command.add_option("--log-level", options.log_level, "How much to log")
      ->check(CLI::IsMember({"debug", "info", "warning", "error", "off"}))
      ->capture_default_str();
  command.add_option(
      "--request-log", options.request_log,
      "Write a line of JSON about each request (never its text) to this file, or to standard output (-)");
  command.add_option("--config", "YAML file with any of these options; flags and QUIRE_* variables win over it");
}

void CompleteServerOptions(CLI::App& command, const ServerOptions& options) {
  ApplyOptionLayers(command, "--config");
  const BackendOptions& backend = options.backend;
  if (backend.model_path.empty()) throw CLI::RequiredError("MODEL");
  if (!options.tenants.empty() && !options.tenant_header.empty()) {
    throw CLI::ValidationError("--tenant-header", "cannot be combined with --tenants: keys say whose a request is");
  }
  if (backend.max_num_batched_tokens > 0 && backend.max_num_batched_tokens < backend.max_num_seqs) {
    throw CLI::ValidationError("--max-num-batched-tokens",
                               absl::StrCat("must be at least --max-num-seqs, which is ", backend.max_num_seqs,
                                            ", got ", backend.max_num_batched_tokens));
  }
  if (options.kv_tiers.any() && (!backend.enable_prefix_caching || backend.recompute_always)) {
    throw CLI::ValidationError(options.kv_tiers.host_bytes > 0 ? "--kv-host-memory" : "--kv-disk-path",
                               "needs prefix caching, which was turned off");
  }
}

}  // namespace quire
