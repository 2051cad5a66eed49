#include "server/grpc/session_service.h"

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/types/status_macros.h"
#include "server/grpc/call_metadata.h"
#include "server/grpc/lease_conversion.h"
#include "server/grpc/status_conversion.h"
#include "server/grpc/time_conversion.h"
#include "server/sessions/session_file.h"
#include "server/status_details.h"

namespace quire {
namespace {

constexpr size_t kMaxWaitingFiles = 64;

void Convert(const SessionInfo& info, v1::Session& proto) {
  proto.set_id(info.id);
  proto.set_history_tokens(info.num_tokens);
  proto.set_busy(info.busy);
  if (!info.busy) quire::Convert(info.expires, *proto.mutable_expires());
  if (info.lease) quire::Convert(*info.lease, *proto.mutable_lease());
}

// Of messages with idle_timeout, lease_kind and lease_priority.
template <typename Request>
absl::StatusOr<SessionTerms> ParseTerms(const Request& request, const Tenant& tenant, absl::Duration most) {
  SessionTerms terms;
  terms.max_of_owner = tenant.limits.max_sessions;
  ASSIGN_OR_RETURN(terms.idle_timeout,
                   ParseDuration("idle_timeout", request.has_idle_timeout() ? &request.idle_timeout() : nullptr, most, most));
  ASSIGN_OR_RETURN(terms.lease.kind, ParseLeaseKind("lease_kind", request.lease_kind(), LeaseKind::kPinned));
  terms.lease.or_preferred = true;
  terms.lease.priority = request.lease_priority();
  // With the session, should nobody end it before.
  terms.lease.ttl = terms.idle_timeout;
  return terms;
}

grpc::ServerUnaryReactor* Answered(grpc::CallbackServerContext* context, const absl::StatusOr<SessionInfo>& info,
                                   v1::Session* response) {
  if (info.ok()) Convert(*info, *response);
  return Finished(context, info.status());
}

}  // namespace

SessionService::SessionService(ServingPipeline& pipeline)
    : pipeline_(pipeline), folder_(pipeline.model().sessions.path), disk_(kMaxWaitingFiles) {}

absl::StatusOr<uint64_t> SessionService::OwnerOf(const grpc::CallbackServerContext& context) const {
  ASSIGN_OR_RETURN(const TenantPtr tenant, IdentifyCaller(pipeline_.tenants(), context));
  return pipeline_.CacheSaltOf(*tenant);
}

grpc::ServerUnaryReactor* SessionService::Open(grpc::CallbackServerContext* context,
                                               const v1::OpenSessionRequest* request, v1::Session* response) {
  const absl::StatusOr<TenantPtr> tenant = IdentifyCaller(pipeline_.tenants(), *context);
  if (!tenant.ok()) return Finished(context, tenant.status());
  SessionStore& sessions = pipeline_.sessions();
  const absl::StatusOr<SessionTerms> terms = ParseTerms(*request, **tenant, sessions.options().idle_timeout);
  if (!terms.ok()) return Finished(context, terms.status());
  const uint64_t owner = pipeline_.CacheSaltOf(**tenant);
  return Answered(context, sessions.Open(owner, *terms, /*history=*/nullptr, absl::Now()), response);
}

grpc::ServerUnaryReactor* SessionService::List(grpc::CallbackServerContext* context,
                                               const v1::ListSessionsRequest* /*request*/,
                                               v1::ListSessionsResponse* response) {
  const absl::StatusOr<uint64_t> owner = OwnerOf(*context);
  if (!owner.ok()) return Finished(context, owner.status());
  for (const SessionInfo& info : pipeline_.sessions().List(*owner, absl::Now())) {
    Convert(info, *response->add_sessions());
  }
  return Finished(context, absl::OkStatus());
}

grpc::ServerUnaryReactor* SessionService::Fork(grpc::CallbackServerContext* context,
                                               const v1::ForkSessionRequest* request, v1::Session* response) {
  const absl::StatusOr<uint64_t> owner = OwnerOf(*context);
  if (!owner.ok()) return Finished(context, owner.status());
  return Answered(context, pipeline_.sessions().Fork(*owner, request->session_id(), absl::Now()), response);
}

grpc::ServerUnaryReactor* SessionService::Close(grpc::CallbackServerContext* context,
                                                const v1::CloseSessionRequest* request,
                                                v1::CloseSessionResponse* /*response*/) {
  const absl::StatusOr<uint64_t> owner = OwnerOf(*context);
  if (!owner.ok()) return Finished(context, owner.status());
  return Finished(context, pipeline_.sessions().Close(*owner, request->session_id(), absl::Now()));
}

grpc::ServerUnaryReactor* SessionService::Snapshot(grpc::CallbackServerContext* context,
                                                   const v1::SnapshotRequest* request, v1::SnapshotResponse* response) {
  const absl::StatusOr<uint64_t> owner = OwnerOf(*context);
  if (!owner.ok()) return Finished(context, owner.status());
  return OnDisk(context, SessionFolder::CheckName("name", request->name()),
                [this, owner = *owner, request, response] { return WriteSnapshot(owner, *request, *response); });
}

grpc::ServerUnaryReactor* SessionService::Restore(grpc::CallbackServerContext* context,
                                                  const v1::RestoreRequest* request, v1::Session* response) {
  const absl::StatusOr<TenantPtr> tenant = IdentifyCaller(pipeline_.tenants(), *context);
  if (!tenant.ok()) return Finished(context, tenant.status());
  return OnDisk(context, SessionFolder::CheckName("name", request->name()),
                [this, tenant = *tenant, request, response] { return ReadSnapshot(*tenant, *request, *response); });
}

absl::Status SessionService::WriteSnapshot(uint64_t owner, const v1::SnapshotRequest& request,
                                           v1::SnapshotResponse& response) {
  ASSIGN_OR_RETURN(auto history, pipeline_.sessions().Export(owner, request.session_id(), absl::Now()));
  const std::string file = WriteSession(
      {pipeline_.model().fingerprint, owner, std::move(history.first), std::move(history.second)});
  response.set_bytes(static_cast<int64_t>(file.size()));
  return folder_.Write(owner, request.name(), file);
}

absl::Status SessionService::ReadSnapshot(const Tenant& tenant, const v1::RestoreRequest& request,
                                          v1::Session& response) {
  SessionStore& sessions = pipeline_.sessions();
  const uint64_t owner = pipeline_.CacheSaltOf(tenant);
  ASSIGN_OR_RETURN(const SessionTerms terms, ParseTerms(request, tenant, sessions.options().idle_timeout));
  ASSIGN_OR_RETURN(const std::string file, folder_.Read(owner, request.name()));
  ASSIGN_OR_RETURN(SessionRecord record, ReadSession(file));
  const ServedModel& model = pipeline_.model();
  if (record.owner != owner) return absl::FailedPreconditionError("the snapshot is somebody else's");
  if (record.fingerprint != model.fingerprint) {
    return absl::FailedPreconditionError("the snapshot is of another model than is served");
  }
  if (static_cast<int64_t>(record.tokens.size()) > model.max_model_len) {
    return absl::FailedPreconditionError(absl::StrCat("the snapshot has ", record.tokens.size(),
                                                      " tokens, more than a sequence may have here, ",
                                                      model.max_model_len));
  }
  SessionHistoryPtr history;
  if (!record.tokens.empty()) {
    history = std::make_shared<const SessionHistory>(nullptr, std::move(record.tokens), std::move(record.roles));
  }
  ASSIGN_OR_RETURN(const SessionInfo info, sessions.Open(owner, terms, std::move(history), absl::Now()));
  Convert(info, response);
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* SessionService::OnDisk(grpc::CallbackServerContext* context, const absl::Status& checked,
                                                 std::function<absl::Status()> job) {
  if (!checked.ok()) return Finished(context, checked);
  if (pipeline_.model().sessions.path.empty()) {
    return Finished(context, WithReason(absl::FailedPreconditionError("there is no place for snapshots: see --session-path"),
                                        "NO_SESSION_PATH"));
  }
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const bool posted = disk_.TryPost(
      [context, reactor, job = std::move(job)] { reactor->Finish(ToGrpcStatus(job(), *context)); });
  if (!posted) reactor->Finish(ToGrpcStatus(TryAgainLater("too many snapshots wait for the disk"), *context));
  return reactor;
}

}  // namespace quire
