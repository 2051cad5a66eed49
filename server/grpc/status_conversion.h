// absl::Status to what travels over gRPC.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>
#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace quire {

// Code and message, and the payloads (see server/status_details.h) as details of a serialised google.rpc.Status. An
// ErrorInfo is always among them.
grpc::Status ToGrpcStatus(const absl::Status& status);

// The same; a RetryInfo also becomes the trailing metadata that gRPC clients' own retry policies obey.
// REQUIRES: called before the RPC is finished.
grpc::Status ToGrpcStatus(const absl::Status& status, grpc::ServerContextBase& context);

// The call that `context` belongs to, ended with `status`: for handlers that have nothing to wait for.
grpc::ServerUnaryReactor* Finished(grpc::CallbackServerContext* context, const absl::Status& status);

}  // namespace quire
