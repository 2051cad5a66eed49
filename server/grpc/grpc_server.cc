#include "server/grpc/grpc_server.h"

#include <grpcpp/ext/channelz_service_plugin.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>

#include <mutex>

#include "absl/strings/str_cat.h"
#include "server/host_port.h"

namespace quire {
namespace {

// Prompts as text are far below this; prompts as token ids take up to five bytes each.
constexpr int kMaxReceiveBytes = 16 << 20;
constexpr int kMaxStreamsPerConnection = 4096;
// Only reflection and channelz use gRPC's blocking threads.
constexpr int kMaxBlockingThreads = 4;

// Reflection and channelz are gRPC's own services and cannot be made to ask for a key.
void RegisterPlugins(bool with_open_services) {
  grpc::EnableDefaultHealthCheckService(true);
  static std::once_flag once;
  if (!with_open_services) return;
  std::call_once(once, [] {
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    grpc::channelz::experimental::InitChannelzService();
  });
}

void SetTransport(grpc::ServerBuilder& builder) {
  builder.SetMaxReceiveMessageSize(kMaxReceiveBytes);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxStreamsPerConnection);
  // A second server on the same port must fail, not take half of the first one's connections.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  // A peer that vanished without a word is found within 40 s, and its pages are free.
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // Clients may ping as often as that in turn; by default gRPC hangs up on more than one in five minutes.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 5'000);
  // Sends from user memory after a stream has ended are a known hole (CVE-2024-11407).
  builder.AddChannelArgument(GRPC_ARG_TCP_TX_ZEROCOPY_ENABLED, 0);
}

void BoundThreads(grpc::ServerBuilder& builder) {
  builder.SetResourceQuota(grpc::ResourceQuota("quire").SetMaxThreads(kMaxBlockingThreads));
  builder.SetSyncServerOption(grpc::ServerBuilder::NUM_CQS, 1);
  builder.SetSyncServerOption(grpc::ServerBuilder::MIN_POLLERS, 1);
  builder.SetSyncServerOption(grpc::ServerBuilder::MAX_POLLERS, 1);
}

}  // namespace

absl::StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::Start(const std::string& host, int port,
                                                              ServingPipeline& pipeline) {
  RegisterPlugins(!pipeline.tenants().requires_keys());
  std::unique_ptr<GrpcServer> result(new GrpcServer(pipeline));
  grpc::ServerBuilder builder;
  SetTransport(builder);
  BoundThreads(builder);
  builder.RegisterService(&result->inference_);
  builder.RegisterService(&result->admin_);
  builder.RegisterService(&result->cache_);
  builder.RegisterService(&result->sessions_);
  builder.RegisterService(&result->kserve_);
  builder.RegisterService(&result->vllm_);
  int bound_port = 0;
  builder.AddListeningPort(JoinHostPort(host, port), grpc::InsecureServerCredentials(), &bound_port);
  result->server_ = builder.BuildAndStart();
  if (result->server_ == nullptr || bound_port == 0) {
    return absl::UnavailableError(absl::StrCat("cannot listen on ", JoinHostPort(host, port),
                                               ": is another server using it? Choose with --host and --port"));
  }
  for (const char* service : {v1::InferenceService::service_full_name(), v1::AdminService::service_full_name(),
                              v1::CacheService::service_full_name(), v1::SessionService::service_full_name(),
                              inference::GRPCInferenceService::service_full_name(),

                              ::vllm::grpc::engine::VllmEngine::service_full_name()}) {
    result->server_->GetHealthCheckService()->SetServingStatus(service, true);
  }
  result->address_ = JoinHostPort(host, bound_port);
  return result;
}

GrpcServer::~GrpcServer() = default;

void GrpcServer::ReportNotServing() { server_->GetHealthCheckService()->Shutdown(); }

void GrpcServer::Shutdown(absl::Time deadline) { server_->Shutdown(absl::ToChronoTime(deadline)); }

}  // namespace quire
