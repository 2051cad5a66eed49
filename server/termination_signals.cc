#include "server/termination_signals.h"

#include <cstdlib>

namespace quire {

TerminationSignals::TerminationSignals() {
  sigemptyset(&signals_);
  sigaddset(&signals_, SIGTERM);
  sigaddset(&signals_, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  thread_ = std::thread([this] { Run(); });
}

TerminationSignals::~TerminationSignals() {
  {
    std::lock_guard lock(mutex_);
    ending_ = true;
  }
  pthread_kill(thread_.native_handle(), SIGTERM);
  thread_.join();
}

int TerminationSignals::Wait() {
  std::unique_lock lock(mutex_);
  awaited_ = true;
  changed_.wait(lock, [this] { return received_ != 0; });
  return received_;
}

void TerminationSignals::End() {
  std::lock_guard lock(mutex_);
  if (received_ == 0) received_ = SIGTERM;
  changed_.notify_all();
}

void TerminationSignals::Run() {
  for (int signal = 0; sigwait(&signals_, &signal) == 0;) {
    std::lock_guard lock(mutex_);
    if (ending_) return;
    if (!awaited_ || received_ != 0) std::_Exit(128 + signal);
    received_ = signal;
    changed_.notify_all();
  }
}

}  // namespace quire
