// GenerateReactor: one call whose answer is a stream of tokens, from its first byte to its status, whatever protocol it
// speaks.
#pragma once

#include <grpcpp/alarm.h>
#include <grpcpp/grpcpp.h>

#include <atomic>
#include <mutex>
#include <utility>

#include "absl/status/statusor.h"
#include "server/serving_pipeline.h"

namespace quire {

// Deletes itself when gRPC is done with it. One write is in flight at most; what comes meanwhile waits in `Pending`.
// There is one path to the end: the pipeline's last delta. A client that cancels only makes it come sooner.
//
// `Pending` makes a protocol's messages of deltas and bounds how many wait (see PendingResponses):
//   Message                     what the call streams;
//   kProtocol                   whose messages they are;
//   void Add(ResponseDelta)     merges into what waits, or adds to it;
//   bool empty() const          whether nothing waits;
//   Message Pop()               the oldest that waits.
template <typename Pending>
class GenerateReactor final : public grpc::ServerWriteReactor<typename Pending::Message>, public ResponseSink {
 public:
  // How long a client may leave the rest of a finished answer unread before its call is cancelled.
  static constexpr absl::Duration kUnreadTimeout = absl::Seconds(30);

  // Starts the request in the pipeline, or ends the call with its error. `context` and `pipeline` outlive the reactor.
  static GenerateReactor* Start(grpc::CallbackServerContext* context, ServingPipeline& pipeline,
                                absl::StatusOr<PipelineRequest> request, Pending pending);

  // Null when the call was refused. For the handler that has called Start, until it returns.
  const RequestContextPtr& request() const { return request_; }

  void Deliver(ResponseDelta delta) override;

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  GenerateReactor(grpc::CallbackServerContext* context, ServingPipeline& pipeline, Pending pending)
      : context_(context), pipeline_(pipeline), pending_(std::move(pending)) {}
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
  RequestContextPtr request_;  // Constant from the call's start on.

  std::mutex mutex_;
  Pending pending_;
  bool writing_ = false;
  bool over_ = false;    // The last delta has come, with `status_`.
  bool broken_ = false;  // The client cannot be reached any more.
  bool done_ = false;    // OnDone was called: `context_` is no more.
  absl::Status status_;

  typename Pending::Message current_;  // Belongs to gRPC while a write is in flight.
  grpc::Alarm unread_alarm_;
  std::atomic<int> references_{1};  // gRPC's, and the alarm's while it is set.
};

}  // namespace quire
