#include "server/cli/serve.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/engine.h"
#include "engine/types/status_macros.h"
#include "server/backend.h"
#include "server/cli/backend_flags.h"
#include "server/cli/progress_bar.h"
#include "server/grpc/grpc_server.h"
#include "server/http/http_server.h"
#include "server/http/routes.h"
#include "server/kv_tiers.h"
#include "server/request_log.h"
#include "server/serving_pipeline.h"
#include "server/status_details.h"
#include "server/tenants/tenant_file.h"
#include "server/termination_signals.h"

namespace quire {
namespace {

// How long cancelled streams have to tell their clients, after the drain has ended.
constexpr absl::Duration kFarewell = absl::Seconds(5);
// When every stream is over; connections that clients keep open hold a shutdown up until then.
constexpr absl::Duration kLastCalls = absl::Milliseconds(200);

void SetUpLog(const std::string& level) {
  // Standard output belongs to what commands print.
  spdlog::set_default_logger(spdlog::stderr_color_mt("quire"));
  spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%e %^%l%$ %v");
  spdlog::set_level(spdlog::level::from_str(level));
}

ServedModel Describe(const ServerOptions& options, const Backend& backend) {
  const LoadedModel& model = backend.model;
  ServedModel served;
  served.name = model.name;
  served.architecture = model.architecture;
  served.parameters = model.weights.num_parameters();
  served.hidden_size = model.config.hidden_size;
  served.max_model_len = backend.engine_options.max_model_len;
  served.max_num_seqs = backend.engine_options.max_num_seqs;
  served.block_size = backend.engine_options.blocks.block_size;
  served.path = std::filesystem::absolute(options.backend.model_path).string();
  served.fingerprint = model.fingerprint;
  served.tokenizer = model.tokenizer.get();
  served.chat_template = model.chat_template.get();
  served.chat_template_error = model.chat_template_error;
  served.call_syntax =
      FindCallSyntax(options.tool_call_parser, model.chat_template ? model.chat_template->source() : "");
  served.sessions = options.sessions;
  const BlockManagerOptions& blocks = backend.engine_options.blocks;
  served.cache = {blocks.block_size, blocks.num_blocks, DescribeKvDTypes(backend.kv_cache->layout()),
                  blocks.enable_prefix_caching};
  return served;
}

// The servers that clients reach the pipeline by.
struct Fronts {
  std::unique_ptr<GrpcServer> grpc;
  std::unique_ptr<HttpServer> http;  // Null: not asked for.

  std::string addresses() const {
    return absl::StrCat("gRPC on ", grpc->address(), http == nullptr ? "" : ", HTTP on http://",
                        http == nullptr ? "" : http->address());
  }
  void Drain() {
    grpc->ReportNotServing();
    if (http != nullptr) http->Drain();
  }
  void Shutdown() {
    const absl::Time deadline = absl::Now() + kLastCalls;
    grpc->Shutdown(deadline);
    if (http != nullptr) http->Shutdown(deadline);
  }
};

absl::StatusOr<Fronts> StartFronts(const ServerOptions& options, ServingPipeline& pipeline) {
  Fronts fronts;
  ASSIGN_OR_RETURN(fronts.grpc, GrpcServer::Start(options.host, options.port, pipeline));
  if (options.http_port < 0) return fronts;
  const HttpServerOptions http{
      .host = options.host, .port = options.http_port, .cors_origin = options.http_cors_origin};
  ASSIGN_OR_RETURN(fronts.http, HttpServer::Start(http, MakeHttpHandler(pipeline), NoteHttpRefusals(pipeline)));
  return fronts;
}

// When the device is lost there is nothing to wait for but that clients are told.
void TakeLeave(Fronts& fronts, ServingPipeline& pipeline) {
  spdlog::error("the device is lost: every request was ended, and the server stops, to be started anew");
  fronts.Drain();
  pipeline.AwaitNoStreams(absl::Now() + kFarewell);
  fronts.Shutdown();
}

// Lets running requests finish until the deadline, then ends the rest.
void Drain(const ServerOptions& options, Fronts& fronts, ServingPipeline& pipeline) {
  spdlog::info("draining: no new requests; running ones have {} s", options.drain_timeout_seconds);
  fronts.Drain();
  pipeline.StopAdmitting();
  const absl::Time deadline = absl::Now() + absl::Seconds(options.drain_timeout_seconds);
  if (!pipeline.AwaitNoStreams(deadline)) {
    spdlog::warn("requests are still running after {} s: ending them", options.drain_timeout_seconds);
    pipeline.CancelAll(WithReason(absl::UnavailableError("the server is shutting down"), "SHUTTING_DOWN"));
    pipeline.AwaitNoStreams(absl::Now() + kFarewell);
  }
  fronts.Shutdown();
  spdlog::info("stopped");
}

// Null where none is asked for.
absl::StatusOr<std::unique_ptr<RequestLog>> OpenRequestLog(const std::string& destination, const std::string& model) {
  if (destination.empty()) return nullptr;
  return RequestLog::Open(destination, model);
}

absl::StatusOr<TenantDirectory> MakeTenants(const ServerOptions& options) {
  if (!options.tenants.empty()) return LoadTenants(options.tenants);
  if (!options.tenant_header.empty()) return TenantDirectory::TrustingHeader(options.tenant_header);
  return TenantDirectory();
}

int Fail(const absl::Status& status) {
  spdlog::error("{}", std::string(status.message()));
  return absl::IsInvalidArgument(status) ? 2 : 1;
}

absl::StatusOr<std::unique_ptr<Backend>> Load(const BackendOptions& options) {
  spdlog::info("loading {}", options.model_path);
  ProgressBar bar("loading");
  return MakeBackend(options, [&bar](float done) { bar.Update(done); });
}

}  // namespace

int RunServe(const ServerOptions& options) {
  TerminationSignals signals;
  SetUpLog(options.log_level);
  const absl::Time start = absl::Now();
  absl::StatusOr<TenantDirectory> tenants = MakeTenants(options);
  if (!tenants.ok()) return Fail(tenants.status());
  const absl::StatusOr<std::unique_ptr<Backend>> loaded = Load(options.backend);
  if (!loaded.ok()) return Fail(loaded.status());
  Backend& backend = **loaded;
  const absl::StatusOr<std::unique_ptr<KvTiers>> kv_tiers = KvTiers::Open(options.kv_tiers, backend);
  if (!kv_tiers.ok()) return Fail(kv_tiers.status());
  absl::StatusOr<std::unique_ptr<RequestLog>> request_log = OpenRequestLog(options.request_log, backend.model.name);
  if (!request_log.ok()) return Fail(request_log.status());

  const EngineOptions& engine_options = backend.engine_options;
  Engine engine(engine_options, *backend.runner, (*kv_tiers)->ForEngine());
  std::atomic<bool> device_lost = false;
  // What runs and what waits: the rest is refused before any work is done for it.
  const auto on_device_lost = [&] {
    device_lost = true;
    signals.End();
  };
  ServingPipeline pipeline(Describe(options, backend), engine,
                           engine_options.max_num_seqs + engine_options.max_waiting_requests, on_device_lost,
                           *std::move(request_log), *std::move(tenants));
  absl::StatusOr<Fronts> fronts = StartFronts(options, pipeline);
  if (!fronts.ok()) return Fail(fronts.status());
  spdlog::info("{}; {} KV pages of {} tokens, sequences of up to {} tokens", backend.Description(),
               engine_options.blocks.num_blocks, engine_options.blocks.block_size, engine_options.max_model_len);
  spdlog::info("ready after {:.2f} s: {}; {}", absl::ToDoubleSeconds(absl::Now() - start), backend.model.name,
               fronts->addresses());

  signals.Wait();
  if (device_lost) {
    TakeLeave(*fronts, pipeline);
    return 1;
  }
  Drain(options, *fronts, pipeline);
  return 0;
}

void AddServeCommand(CLI::App& app, int* exit_code) {
  auto options = std::make_shared<ServerOptions>();
  CLI::App* command = app.add_subcommand("serve", "Serve a model over gRPC and HTTP");
  AddServerFlags(*command, *options);
  command->callback([command, options, exit_code] {
    CompleteServerOptions(*command, *options);
    *exit_code = RunServe(*options);
  });
}

}  // namespace quire
