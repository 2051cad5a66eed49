// Calls that the engine's thread answers between two steps.
#pragma once

#include <grpcpp/grpcpp.h>

#include "absl/functional/any_invocable.h"
#include "server/serving_pipeline.h"

namespace quire {

// Finishes the call with what `job` says, run on the engine's thread, or as one that the engine has no time for.
grpc::ServerUnaryReactor* CallEngine(grpc::CallbackServerContext* context, ServingPipeline& pipeline,
                                     absl::AnyInvocable<absl::Status(Engine&)> job);
// The same for a call whose reactor is there already, from any thread.
void FinishOnEngine(grpc::CallbackServerContext* context, grpc::ServerUnaryReactor* reactor, ServingPipeline& pipeline,
                    absl::AnyInvocable<absl::Status(Engine&)> job);

}  // namespace quire
