// StreamInferReactor: one ModelStreamInfer call. Its requests run at once, and their responses are told apart by id.
#pragma once

#include <grpcpp/alarm.h>
#include <grpcpp/grpcpp.h>

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "server/grpc/kserve/infer_answer.h"
#include "server/grpc/request_parser.h"
#include "server/serving_pipeline.h"

namespace quire::kserve {

// A request that fails gets a response with error_message, and the stream goes on. The stream ends once its client has
// sent its last request and every answer is sent; a client that cancels makes all of its requests end sooner.
//
// One write is in flight at most, and requests with something to send take turns. While as many requests are alive as a
// stream may have, nothing more is read from it: what a client does not take costs no more than their answers.
//
// Deletes itself when gRPC is done with it.
class StreamInferReactor final
    : public grpc::ServerBidiReactor<inference::ModelInferRequest, inference::ModelStreamInferResponse> {
 public:
  static constexpr size_t kMaxRequests = 64;
  // How long a client may take nothing while the end of an answer waits for it, before its call is cancelled.
  static constexpr absl::Duration kUnreadTimeout = absl::Seconds(30);

  // All outlive the reactor. Reads at once.
  StreamInferReactor(grpc::CallbackServerContext* context, ServingPipeline& pipeline, const RequestParser& parser);

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  // One request of the stream. Mutable members are guarded by the reactor's mutex.
  struct Request final : public ResponseSink {
    Request(StreamInferReactor& r, InferAnswer a) : reactor(r), answer(std::move(a)) {}
    void Deliver(ResponseDelta delta) override { reactor.Deliver(*this, std::move(delta)); }

    StreamInferReactor& reactor;
    InferAnswer answer;
    RequestContextPtr context;  // Null if it was refused.
    bool queued = false;        // In `ready_`.
  };

  // What to do outside of the lock: gRPC may delete the reactor as soon as it is told to finish.
  enum class Action { kNone, kWrite, kFinish };
  struct Next {
    Action action = Action::kNone;
    bool read = false;
  };

  ~StreamInferReactor() override = default;

  void AcceptLocked(absl::StatusOr<InferRequest> parsed);
  void Deliver(Request& request, ResponseDelta delta);
  // Something was added to the request's answer.
  void AddedLocked(Request& request);

  Next NextLocked();
  Action ChooseActionLocked();
  // The request is over, and its last response was sent or cannot be.
  void ForgetLocked(Request& request);
  void SetUnreadAlarmLocked();
  void Perform(Next next);
  void Unref();

  grpc::CallbackServerContext* const context_;
  ServingPipeline& pipeline_;
  const RequestParser& parser_;
  RequestOrigin origin_;  // Constant once made.
  inference::ModelInferRequest incoming_;  // Belongs to gRPC while a read is in flight.

  std::mutex mutex_;
  std::unordered_map<Request*, std::unique_ptr<Request>> requests_;
  std::deque<Request*> ready_;          // Those with something to send.
  Request* writing_last_of_ = nullptr;  // The request whose last response is being written.
  int num_over_ = 0;                    // Of `requests_`.
  int64_t num_writes_ = 0;
  bool reading_ = true;
  bool read_ended_ = false;
  bool writing_ = false;
  bool broken_ = false;  // The client cannot be reached any more.
  bool finished_ = false;
  bool done_ = false;  // OnDone was called: `context_` is no more.

  inference::ModelStreamInferResponse outgoing_;  // Belongs to gRPC while a write is in flight.
  std::unique_ptr<grpc::Alarm> unread_alarm_;     // While a write is in flight and some request is over.
  std::atomic<int> references_{1};                // gRPC's, and one for each alarm that has not called back.
};

}  // namespace quire::kserve
