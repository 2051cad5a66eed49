// quire.v1.SessionService over the pipeline's sessions.
#pragma once

#include <functional>

#include "quire/v1/session.grpc.pb.h"
#include "server/serving_pipeline.h"
#include "server/sessions/session_folder.h"
#include "server/text_worker.h"

namespace quire {

// Handlers answer at once, but for those that go to the disk, which a thread of their own does.
class SessionService final : public v1::SessionService::CallbackService {
 public:
  // `pipeline` outlives the service.
  explicit SessionService(ServingPipeline& pipeline);

  grpc::ServerUnaryReactor* Open(grpc::CallbackServerContext* context, const v1::OpenSessionRequest* request,
                                 v1::Session* response) override;
  grpc::ServerUnaryReactor* List(grpc::CallbackServerContext* context, const v1::ListSessionsRequest* request,
                                 v1::ListSessionsResponse* response) override;
  grpc::ServerUnaryReactor* Fork(grpc::CallbackServerContext* context, const v1::ForkSessionRequest* request,
                                 v1::Session* response) override;
  grpc::ServerUnaryReactor* Close(grpc::CallbackServerContext* context, const v1::CloseSessionRequest* request,
                                  v1::CloseSessionResponse* response) override;
  grpc::ServerUnaryReactor* Snapshot(grpc::CallbackServerContext* context, const v1::SnapshotRequest* request,
                                     v1::SnapshotResponse* response) override;
  grpc::ServerUnaryReactor* Restore(grpc::CallbackServerContext* context, const v1::RestoreRequest* request,
                                    v1::Session* response) override;

 private:
  absl::StatusOr<uint64_t> OwnerOf(const grpc::CallbackServerContext& context) const;
  absl::Status WriteSnapshot(uint64_t owner, const v1::SnapshotRequest& request, v1::SnapshotResponse& response);
  absl::Status ReadSnapshot(const Tenant& tenant, const v1::RestoreRequest& request, v1::Session& response);
  // Finishes the call with `checked` if that is an error, else with what `job` says, run where the disk may be waited for.
  grpc::ServerUnaryReactor* OnDisk(grpc::CallbackServerContext* context, const absl::Status& checked,
                                   std::function<absl::Status()> job);

  ServingPipeline& pipeline_;
  SessionFolder folder_;  // disk_'s.
  TextWorker disk_;
};

}  // namespace quire
