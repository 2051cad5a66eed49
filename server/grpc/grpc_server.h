// GrpcServer: the listening socket, its settings, and the services on it: quire.v1, KServe's, vllm.grpc.engine,
// grpc.health.v1, and where no keys are required reflection and channelz.
#pragma once

#include <grpcpp/server.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/grpc/admin_service.h"
#include "server/grpc/cache_service.h"
#include "server/grpc/inference_service.h"
#include "server/grpc/kserve/kserve_service.h"
#include "server/grpc/session_service.h"
#include "server/grpc/vllm/vllm_service.h"
#include "server/serving_pipeline.h"

namespace quire {

class GrpcServer {
 public:
  // Listens, and reports SERVING, once this returns. Port 0 takes any free one. `pipeline` outlives the server.
  // UNAVAILABLE when the address cannot be listened on.
  static absl::StatusOr<std::unique_ptr<GrpcServer>> Start(const std::string& host, int port,
                                                           ServingPipeline& pipeline);
  ~GrpcServer();

  // As clients write it: "127.0.0.1:50051".
  const std::string& address() const { return address_; }

  // Health becomes NOT_SERVING for good; calls go on.
  void ReportNotServing();
  // Accepts nothing more, cancels what is left at `deadline`, and returns when every call is over. REQUIRES: the
  // pipeline still ends its requests.
  void Shutdown(absl::Time deadline);

  grpc::Server& server() { return *server_; }

 private:
  explicit GrpcServer(ServingPipeline& pipeline)
      : inference_(pipeline), admin_(pipeline), cache_(pipeline), sessions_(pipeline), kserve_(pipeline), vllm_(pipeline) {}

  InferenceService inference_;
  AdminService admin_;
  CacheService cache_;
  SessionService sessions_;
  kserve::KserveService kserve_;
  VllmService vllm_;
  std::string address_;
  std::unique_ptr<grpc::Server> server_;  // Last: uses the services until it is destroyed.
};

}  // namespace quire
