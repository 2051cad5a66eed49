// EngineThread: the thread that owns the engine. Everyone else posts messages; it steps while there is work and sleeps
// on its mailbox while there is none.
#pragma once

#include <functional>
#include <thread>
#include <unordered_set>
#include <variant>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "engine/engine.h"
#include "server/mailbox.h"
#include "server/request_context.h"
#include "server/stream_thread.h"

namespace quire {

class EngineThread {
 public:
  using Job = absl::AnyInvocable<void(Engine&)>;

  // All are called on the engine thread.
  struct Callbacks {
    std::function<absl::Duration()> retry_delay;  // What a request is told that the engine has no room for.
    std::function<void()> device_lost;            // Once, when no step can succeed any more; all requests end then.
    // What a step, or a job before it, did to the cache, once a job has asked the engine to record that.
    std::function<void(std::vector<PageEvent>)> page_events;
  };

  // Both outlive this object. The outputs of each step, and what there is to tell of it, go to `streams` in one push.
  EngineThread(Engine& engine, StreamThread& streams, Callbacks callbacks);
  // Finishes the step in progress and ends; requests still alive get no further output, so cancel them first.
  ~EngineThread();

  // All thread-safe and non-blocking; they take effect between two steps.
  // Whatever becomes of the request, its one last output goes to the stream thread. REQUIRES: its stream was opened.
  void Submit(GenerateRequest request, RequestContextPtr context);
  void Cancel(RequestId id);
  void FinishSample(RequestId id, int index);
  // Ends every request, and every later one, with `reason`.
  void CancelAll(absl::Status reason);
  // Runs a short job on the engine thread, between two steps. False, and it is not run, when too many wait or the
  // thread is ending.
  bool TryRun(Job job);

 private:
  struct SubmitMessage {
    GenerateRequest request;
    RequestContextPtr context;
  };
  struct CancelMessage {
    RequestId id;
  };
  struct FinishSampleMessage {
    RequestId id;
    int index;
  };
  struct CancelAllMessage {
    absl::Status reason;
  };
  struct TierNewsMessage {};  // For the next step, which it makes sure of.
  using Message =
      std::variant<SubmitMessage, CancelMessage, FinishSampleMessage, CancelAllMessage, TierNewsMessage, Job>;

  void Run();
  void Handle(SubmitMessage& message);
  void Handle(CancelMessage& message);
  void Handle(FinishSampleMessage& message);
  void Handle(CancelAllMessage& message);
  void Handle(TierNewsMessage& /*message*/) {}
  void Handle(Job& job);
  void Step();
  // Whether somebody has come for whom the step that computes should be given up, behind the first `num_seen` messages,
  // which becomes the number of all.
  bool Arrives(size_t& num_seen);
  void EndAll(absl::Status reason);

  Mailbox<Message> mailbox_;
  StreamThread& streams_;
  const Callbacks callbacks_;

  // Owned by the engine thread.
  Engine& engine_;
  std::unordered_set<RequestId> alive_;
  std::vector<SequenceOutput> refused_;  // Last outputs of requests that the engine did not take on.
  absl::Status shutdown_reason_;         // Not OK once CancelAll was asked for, or the device is lost.

  std::thread thread_;
};

}  // namespace quire
