#include "server/grpc/engine_call.h"

#include <utility>

#include "server/grpc/status_conversion.h"
#include "server/status_details.h"

namespace quire {

grpc::ServerUnaryReactor* CallEngine(grpc::CallbackServerContext* context, ServingPipeline& pipeline,
                                     absl::AnyInvocable<absl::Status(Engine&)> job) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  FinishOnEngine(context, reactor, pipeline, std::move(job));
  return reactor;
}

void FinishOnEngine(grpc::CallbackServerContext* context, grpc::ServerUnaryReactor* reactor, ServingPipeline& pipeline,
                    absl::AnyInvocable<absl::Status(Engine&)> job) {
  const bool posted = pipeline.TryRunOnEngine([context, reactor, job = std::move(job)](Engine& engine) mutable {
    reactor->Finish(ToGrpcStatus(job(engine), *context));
  });
  if (!posted) reactor->Finish(ToGrpcStatus(TryAgainLater("the engine has too many messages to read"), *context));
}

}  // namespace quire
