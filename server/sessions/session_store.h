// SessionStore: the sessions there are, each with its history and the lease that keeps the history's pages.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/types/step_output.h"
#include "server/sessions/session_history.h"
#include "server/sessions/session_options.h"

namespace quire {

// How a session keeps its history's pages, how long it lasts, and beside how many others.
struct SessionTerms {
  absl::Duration idle_timeout;
  LeaseRequest lease;
  int max_of_owner = 0;  // Sessions that its owner may have; 0: all that there may be.
};

struct SessionInfo {
  std::string id;
  int num_tokens = 0;
  bool busy = false;
  absl::Time expires;  // Unless it is busy.
  std::optional<Lease> lease;
};

// A lease that several sessions may share; it ends with the last of them.
class SessionLease;

// What a session looks like to the request that runs in it.
struct SessionTurn {
  std::string session;
  uint64_t ticket = 0;  // Of this turn; a session that was closed meanwhile has no more use for it.
  SessionHistoryPtr history;
  LeaseRequest lease;
};

// Thread-safe and non-blocking. Sessions belong to owners (cache salts): to anybody else they are not there, NOT_FOUND.
// Idle ones that are over are ended with the next call.
class SessionStore {
 public:
  // `end_lease` may be called from any thread that uses the store, and must not block or call back.
  using EndLease = std::function<void(uint64_t owner, LeaseId lease)>;
  SessionStore(const SessionOptions& options, EndLease end_lease);
  // Leases that are left are not ended any more.
  ~SessionStore();

  const SessionOptions& options() const { return options_; }

  // `history` may be null. RESOURCE_EXHAUSTED when there are too many, or more of this owner's than it may have.
  absl::StatusOr<SessionInfo> Open(uint64_t owner, const SessionTerms& terms, SessionHistoryPtr history, absl::Time now);
  absl::StatusOr<SessionInfo> Fork(uint64_t owner, const std::string& id, absl::Time now);
  absl::Status Close(uint64_t owner, const std::string& id, absl::Time now);
  std::vector<SessionInfo> List(uint64_t owner, absl::Time now);
  // What the session has said, and the roles of its messages.
  absl::StatusOr<std::pair<std::vector<TokenId>, std::vector<std::string>>> Export(uint64_t owner,
                                                                                   const std::string& id,
                                                                                   absl::Time now);
  int size(absl::Time now);

  // Begins a request in a session, which is busy until EndTurn. ABORTED when it is busy already.
  absl::StatusOr<SessionTurn> BeginTurn(uint64_t owner, const std::string& id, absl::Time now);
  // The request is over: the session goes on with `tokens` and `roles`, and with the lease that keeps it all; without
  // one, with that which it has. Without tokens it stays as it was. Returns how many tokens the history has.
  int EndTurn(SessionTurn turn, std::vector<TokenId> tokens, std::vector<std::string> roles,
              const std::optional<Lease>& lease, absl::Time now);

 private:
  struct Session {
    uint64_t owner = 0;
    SessionTerms terms;
    SessionHistoryPtr history;
    std::shared_ptr<const SessionLease> lease;
    uint64_t ticket = 0;  // Of the request that runs in it; 0: none.
    absl::Time expires;
  };
  using Sessions = std::map<std::string, Session>;

  absl::StatusOr<SessionInfo> AddLocked(Session session, absl::Time now);
  absl::StatusOr<Sessions::iterator> FindLocked(uint64_t owner, const std::string& id);
  void EndExpiredLocked(absl::Time now);
  void RemoveLocked(Sessions::iterator it);
  static SessionInfo InfoOf(const Sessions::value_type& entry);

  const SessionOptions options_;
  std::shared_ptr<const EndLease> end_lease_;  // Constant until this is destroyed.
  std::mutex mutex_;
  Sessions sessions_;
  std::set<std::pair<absl::Time, std::string>> idle_;  // Those that are not busy, by their end.
  uint64_t last_ticket_ = 0;
};

}  // namespace quire
