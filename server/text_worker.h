// TextWorker: the thread that does work proportional to a text's length (templates, tokenising, detokenising whole
// texts), so that neither the network's threads nor the engine's wait for it.
#pragma once

#include <thread>

#include "absl/functional/any_invocable.h"
#include "server/mailbox.h"

namespace quire {

class TextWorker {
 public:
  using Job = absl::AnyInvocable<void()>;

  // `capacity`: how many jobs may wait that were not admitted otherwise (see TryPost).
  explicit TextWorker(size_t capacity);
  // Runs what waits, then ends.
  ~TextWorker();

  // Jobs run one after the other in the order of arrival. A job must not throw.
  // For jobs that nothing else bounds; false when too many wait.
  bool TryPost(Job job) { return jobs_.TryPush(std::move(job)); }
  // For jobs of requests that were admitted.
  void Post(Job job) { jobs_.Push(std::move(job)); }

 private:
  void Run();

  Mailbox<Job> jobs_;
  std::thread thread_;
};

}  // namespace quire
