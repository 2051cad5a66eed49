// What travels in a call's metadata rather than in its messages.
#pragma once

#include <grpcpp/server_context.h>

#include "absl/status/status.h"
#include "server/metrics/metrics.h"
#include "server/request_origin.h"
#include "server/tenants/tenant_directory.h"

namespace quire {

// Where a call came from, by its metadata traceparent and x-request-id.
RequestOrigin ReadOrigin(Protocol protocol, const grpc::ServerContextBase& context);

// Tells the client its request's id: in the initial metadata of a call that is taken on, and in the trailers of one
// that is refused with `status`. Gateways take the latter elsewhere, unless it has begun to answer. REQUIRES: called
// once for a call, before anything is sent.
void SendRequestId(const RequestOrigin& origin, const absl::Status& status, grpc::ServerContextBase& context);

// Whose call it is, by its metadata; see TenantDirectory. Every method begins with it, but for those that only ask
// whether the server is alive.
absl::StatusOr<TenantPtr> IdentifyCaller(const TenantDirectory& tenants, const grpc::ServerContextBase& context,
                                         Access access = Access::kOwn);
// The same, with the tenant noted in `origin`.
absl::Status IdentifyCaller(const TenantDirectory& tenants, const grpc::ServerContextBase& context,
                            RequestOrigin& origin);

// Adds the trailer that load balancers read (see proto/quire/v1/load_report.proto). REQUIRES: called before the call is
// finished.
void AddLoadReport(const ServerLoad& load, grpc::ServerContextBase& context);

}  // namespace quire
