// quire.v1.AdminService.
#pragma once

#include "quire/v1/admin.grpc.pb.h"
#include "server/serving_pipeline.h"

namespace quire {

class AdminService final : public v1::AdminService::CallbackService {
 public:
  // `pipeline` outlives the service.
  explicit AdminService(ServingPipeline& pipeline) : pipeline_(pipeline) {}

  // Answered by the engine thread between two steps.
  grpc::ServerUnaryReactor* GetStats(grpc::CallbackServerContext* context, const v1::GetStatsRequest* request,
                                     v1::Stats* response) override;

 private:
  ServingPipeline& pipeline_;
};

}  // namespace quire
