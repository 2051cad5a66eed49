// InterruptWatcher: Ctrl-C while a call to the server is in flight cancels that call and not the program.
#pragma once

#include <grpcpp/client_context.h>

#include <mutex>

namespace quire {

// SIGINT is waited for by a thread of its own, so nothing runs in a signal handler. Never destroyed: the thread lives
// as long as the process.
class InterruptWatcher {
 public:
  // `idle_exit`: without a call, an interrupt ends the program with status 130; otherwise it has no effect then.
  // REQUIRES: no other thread runs yet.
  explicit InterruptWatcher(bool idle_exit);

  // While one of these lives, an interrupt cancels the call of `context`.
  class Call {
   public:
    Call(InterruptWatcher& watcher, grpc::ClientContext& context) : watcher_(watcher) { watcher_.Watch(&context); }
    ~Call() { watcher_.Watch(nullptr); }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

   private:
    InterruptWatcher& watcher_;
  };

 private:
  void Watch(grpc::ClientContext* context);
  void OnInterrupt();

  const bool idle_exit_;
  std::mutex mutex_;
  grpc::ClientContext* context_ = nullptr;
};

}  // namespace quire
