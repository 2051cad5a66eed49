#include "server/admission_control.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "server/status_details.h"

namespace quire {

absl::Status AdmissionControl::Admit(absl::Time now) {
  std::lock_guard lock(mutex_);
  if (closed_) return WithReason(absl::UnavailableError("the server is shutting down"), "SHUTTING_DOWN");
  if (requests_ >= max_requests_) {
    const absl::Status busy = absl::ResourceExhaustedError(
        absl::StrCat("the server is busy with ", requests_, " requests, as many as it accepts; try again later"));
    return WithRetryDelay(WithReason(busy, "TOO_MANY_REQUESTS"), RetryDelayLocked());
  }
  if (requests_ == 0) last_event_ = now;
  ++requests_;
  ++streams_;
  return absl::OkStatus();
}

void AdmissionControl::RequestOver(absl::Time now) {
  std::lock_guard lock(mutex_);
  QUIRE_CHECK(requests_ > 0);
  --requests_;
  const absl::Duration elapsed = now - last_event_;
  last_event_ = now;
  time_per_request_ = time_per_request_ == absl::ZeroDuration() ? elapsed : time_per_request_ * 0.9 + elapsed * 0.1;
}

void AdmissionControl::StreamOver() {
  std::lock_guard lock(mutex_);
  QUIRE_CHECK(streams_ > 0);
  if (--streams_ == 0) no_streams_.notify_all();
}

absl::Duration AdmissionControl::RetryDelay() const {
  std::lock_guard lock(mutex_);
  return RetryDelayLocked();
}

absl::Duration AdmissionControl::RetryDelayLocked() const {
  return std::clamp(time_per_request_ * requests_, absl::Milliseconds(100), absl::Seconds(60));
}

void AdmissionControl::Close() {
  std::lock_guard lock(mutex_);
  closed_ = true;
}

bool AdmissionControl::closed() const {
  std::lock_guard lock(mutex_);
  return closed_;
}

bool AdmissionControl::AwaitNoStreams(absl::Time deadline) {
  std::unique_lock lock(mutex_);
  return no_streams_.wait_until(lock, absl::ToChronoTime(deadline), [this] { return streams_ == 0; });
}

}  // namespace quire
