// AdmissionControl: how many requests the server takes on, whatever thread they wait for, and what a refused client is
// told.
#pragma once

#include <condition_variable>
#include <mutex>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace quire {

// Thread-safe; nothing but AwaitNoStreams blocks. Two counts: a *request* lives from Admit until the engine is done
// with it, and is what the limit bounds; its *stream* lives on until the client has read everything or gone away.
class AdmissionControl {
 public:
  explicit AdmissionControl(int max_requests) : max_requests_(max_requests) {}

  // Takes one request and its stream on. RESOURCE_EXHAUSTED, with RetryInfo, when there are too many; UNAVAILABLE once
  // closed.
  absl::Status Admit(absl::Time now);
  void RequestOver(absl::Time now);
  void StreamOver();

  // How long the requests now alive will take at the speed of the last ones, within [0.1 s, 60 s].
  absl::Duration RetryDelay() const;

  // Nothing more is admitted.
  void Close();
  bool closed() const;
  // Waits until no stream is left; false if some are at `deadline`.
  bool AwaitNoStreams(absl::Time deadline);

 private:
  absl::Duration RetryDelayLocked() const;

  const int max_requests_;
  mutable std::mutex mutex_;
  std::condition_variable no_streams_;
  bool closed_ = false;
  int requests_ = 0;
  int streams_ = 0;
  absl::Time last_event_;            // The last request's end, or the start of the first one after a pause.
  absl::Duration time_per_request_;  // Moving average between two ends while there was work.
};

}  // namespace quire
