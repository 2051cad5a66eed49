#include "server/http/wakeup.h"

#include <boost/asio/post.hpp>
#include <chrono>
#include <utility>

#include "absl/time/clock.h"

namespace quire {

void Wakeup::Notify() {
  std::lock_guard lock(mutex_);
  if (signalled_ || !timer_.has_value()) return;
  signalled_ = true;
  asio::post(timer_->get_executor(), [self = shared_from_this()] {
    if (self->timer_.has_value()) self->timer_->cancel();
  });
}

asio::awaitable<void> Wakeup::Wait(absl::Duration at_most) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point end = at_most == absl::InfiniteDuration() ? Clock::time_point::max()
                                                                    : Clock::now() + absl::ToChronoNanoseconds(at_most);
  // A cancellation that was meant for an earlier wait ends one round of this loop and no more.
  while (!TakeSignal() && Clock::now() < end) {
    boost::system::error_code ignored;
    timer_->expires_at(end);
    co_await timer_->async_wait(Into(ignored));
  }
}

bool Wakeup::TakeSignal() {
  std::lock_guard lock(mutex_);
  return std::exchange(signalled_, false);
}

void Wakeup::Close() {
  std::lock_guard lock(mutex_);
  timer_.reset();
}

}  // namespace quire
