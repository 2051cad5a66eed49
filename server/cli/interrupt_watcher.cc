#include "server/cli/interrupt_watcher.h"

#include <signal.h>

#include <cstdlib>
#include <thread>

namespace quire {

InterruptWatcher::InterruptWatcher(bool idle_exit) : idle_exit_(idle_exit) {
  sigset_t interrupts;
  sigemptyset(&interrupts);
  sigaddset(&interrupts, SIGINT);
  // Threads made from here on inherit the mask, so only the watcher sees the signal.
  pthread_sigmask(SIG_BLOCK, &interrupts, nullptr);
  std::thread([this, interrupts] {
    int signal = 0;
    while (sigwait(&interrupts, &signal) == 0) OnInterrupt();
  }).detach();
}

void InterruptWatcher::Watch(grpc::ClientContext* context) {
  std::lock_guard lock(mutex_);
  context_ = context;
}

void InterruptWatcher::OnInterrupt() {
  std::lock_guard lock(mutex_);
  if (context_ != nullptr) {
    context_->TryCancel();
  } else if (idle_exit_) {
    std::_Exit(130);
  }
}

}  // namespace quire
