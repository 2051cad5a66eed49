// TerminationSignals: SIGTERM and SIGINT, received by a thread of their own, so that no code runs in a signal handler.
#pragma once

#include <signal.h>

#include <condition_variable>
#include <mutex>
#include <thread>

namespace quire {

// The first signal ends Wait. Before Wait is called there is nothing to end in good order, and after the first signal
// somebody is in a hurry: then a signal ends the process at once, with the status that shells give to it (128 +
// number).
class TerminationSignals {
 public:
  // Blocks the signals in this thread and in those it starts from now on. REQUIRES: no other thread runs yet.
  TerminationSignals();
  ~TerminationSignals();

  // Returns the first signal's number.
  int Wait();
  // Ends Wait as SIGTERM would. Any thread.
  void End();

 private:
  void Run();

  sigset_t signals_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool awaited_ = false;
  bool ending_ = false;
  int received_ = 0;
  std::thread thread_;
};

}  // namespace quire
