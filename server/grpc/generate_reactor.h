// GenerateReactor: one Generate or Chat call, from its first byte to its status.
#pragma once

#include <grpcpp/alarm.h>
#include <grpcpp/grpcpp.h>

#include <atomic>
#include <mutex>

#include "absl/status/statusor.h"
#include "quire/v1/inference.grpc.pb.h"
#include "server/grpc/pending_responses.h"
#include "server/serving_pipeline.h"

namespace quire {

// Deletes itself when gRPC is done with it. One write is in flight at most; what comes meanwhile waits in
// PendingResponses. There is one path to the end: the pipeline's last delta. A client that cancels only makes it come
// sooner.
class GenerateReactor final : public grpc::ServerWriteReactor<v1::GenerateResponse>, public ResponseSink {
 public:
  // How long a client may leave the rest of a finished answer unread before its call is cancelled.
  static constexpr absl::Duration kUnreadTimeout = absl::Seconds(30);

  // Starts the request in the pipeline, or ends the call with its error. `context` and `pipeline` outlive the reactor.
  static GenerateReactor* Start(grpc::CallbackServerContext* context, ServingPipeline& pipeline,
                                absl::StatusOr<PipelineRequest> request);

  void Deliver(ResponseDelta delta) override;

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  GenerateReactor(grpc::CallbackServerContext* context, ServingPipeline& pipeline)
      : context_(context), pipeline_(pipeline) {}
  ~GenerateReactor() override = default;

  absl::Status StartRequest(absl::StatusOr<PipelineRequest> request);

  // What to do outside of the lock: gRPC may delete this object as soon as it is told to finish.
  enum class Action { kNone, kWrite, kWriteAndFinish, kFinish };
  Action ChooseLocked();
  void Perform(Action action);
  // Finishes the call. Nothing of this object may be used afterwards.
  void End(const absl::Status& status);
  void SetUnreadAlarmLocked();
  void Unref();

  grpc::CallbackServerContext* const context_;
  ServingPipeline& pipeline_;
  RequestContextPtr request_;  // Null when the call was refused. Constant from the call's start on.

  std::mutex mutex_;
  PendingResponses pending_;
  bool writing_ = false;
  bool over_ = false;    // The last delta has come, with `status_`.
  bool broken_ = false;  // The client cannot be reached any more.
  bool done_ = false;    // OnDone was called: `context_` is no more.
  absl::Status status_;

  v1::GenerateResponse current_;  // Belongs to gRPC while a write is in flight.
  grpc::Alarm unread_alarm_;
  std::atomic<int> references_{1};  // gRPC's, and the alarm's while it is set.
};

}  // namespace quire
