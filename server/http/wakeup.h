// Wakeup: a coroutine of the HTTP thread waits until some other thread has something for it.
#pragma once

#include <memory>
#include <mutex>
#include <optional>

#include "absl/time/time.h"
#include "server/http/asio.h"

namespace quire {

class Wakeup : public std::enable_shared_from_this<Wakeup> {
 public:
  static std::shared_ptr<Wakeup> Make(const asio::any_io_executor& executor) {
    return std::shared_ptr<Wakeup>(new Wakeup(executor));
  }

  // Any thread; does not block.
  void Notify();

  // The rest on the HTTP thread.
  // Returns once Notify was called since the last wait returned, or the time has passed. One waits at a time.
  asio::awaitable<void> Wait(absl::Duration at_most = absl::InfiniteDuration());
  // From now on Notify does nothing, and may be called when the HTTP thread is no more. REQUIRES: nobody waits.
  void Close();

 private:
  explicit Wakeup(const asio::any_io_executor& executor) : timer_(executor) {}

  bool TakeSignal();

  std::mutex mutex_;
  bool signalled_ = false;
  std::optional<asio::steady_timer> timer_;  // Only the HTTP thread uses it, its executor apart. None: closed.
};

}  // namespace quire
