#include "server/sessions/session_store.h"

#include <algorithm>
#include <random>

#include "absl/strings/str_cat.h"
#include "engine/types/status_macros.h"
#include "server/status_details.h"

namespace quire {
namespace {

// Not to be guessed: 128 bits of the system's randomness.
std::string MakeId() {
  std::random_device random;
  std::string id = "s-";
  for (int i = 0; i < 4; ++i) absl::StrAppend(&id, absl::Hex(random(), absl::kZeroPad8));
  return id;
}

}  // namespace

class SessionLease {
 public:
  SessionLease(const Lease& lease, std::weak_ptr<const SessionStore::EndLease> end)
      : lease_(lease), end_(std::move(end)) {}
  ~SessionLease() {
    if (const auto end = end_.lock()) (*end)(lease_.options.owner, lease_.id);
  }
  SessionLease(const SessionLease&) = delete;
  SessionLease& operator=(const SessionLease&) = delete;

  const Lease& lease() const { return lease_; }

 private:
  const Lease lease_;
  const std::weak_ptr<const SessionStore::EndLease> end_;
};

SessionStore::SessionStore(const SessionOptions& options, EndLease end_lease)
    : options_(options), end_lease_(std::make_shared<const EndLease>(std::move(end_lease))) {}

SessionStore::~SessionStore() { end_lease_.reset(); }

absl::StatusOr<SessionInfo> SessionStore::Open(uint64_t owner, const SessionTerms& terms, SessionHistoryPtr history,
                                               absl::Time now) {
  const std::lock_guard lock(mutex_);
  EndExpiredLocked(now);
  Session session;
  session.owner = owner;
  session.terms = terms;
  session.history = std::move(history);
  return AddLocked(std::move(session), now);
}

absl::StatusOr<SessionInfo> SessionStore::Fork(uint64_t owner, const std::string& id, absl::Time now) {
  const std::lock_guard lock(mutex_);
  EndExpiredLocked(now);
  ASSIGN_OR_RETURN(const Sessions::iterator found, FindLocked(owner, id));
  Session session = found->second;
  session.ticket = 0;
  return AddLocked(std::move(session), now);
}

absl::StatusOr<SessionInfo> SessionStore::AddLocked(Session session, absl::Time now) {
  if (static_cast<int>(sessions_.size()) >= options_.max_sessions) {
    return TryAgainLater(
        absl::StrCat("there are ", options_.max_sessions, " sessions, as many as are accepted: close some"));
  }
  const int most = session.terms.max_of_owner;
  const auto is_owners = [&](const auto& entry) { return entry.second.owner == session.owner; };
  if (most > 0 && std::ranges::count_if(sessions_, is_owners) >= most) {
    return WithReason(absl::ResourceExhaustedError(absl::StrCat(
                          "the tenant has ", most, " sessions, as many as it may have (max_sessions): close some")),
                      "MAX_SESSIONS");
  }
  session.expires = now + session.terms.idle_timeout;
  const auto [it, inserted] = sessions_.emplace(MakeId(), std::move(session));
  idle_.insert({it->second.expires, it->first});
  return InfoOf(*it);
}

absl::Status SessionStore::Close(uint64_t owner, const std::string& id, absl::Time now) {
  const std::lock_guard lock(mutex_);
  EndExpiredLocked(now);
  ASSIGN_OR_RETURN(const Sessions::iterator found, FindLocked(owner, id));
  RemoveLocked(found);
  return absl::OkStatus();
}

std::vector<SessionInfo> SessionStore::List(uint64_t owner, absl::Time now) {
  const std::lock_guard lock(mutex_);
  EndExpiredLocked(now);
  std::vector<SessionInfo> infos;
  for (const auto& entry : sessions_) {
    if (entry.second.owner == owner) infos.push_back(InfoOf(entry));
  }
  return infos;
}

absl::StatusOr<std::pair<std::vector<TokenId>, std::vector<std::string>>> SessionStore::Export(uint64_t owner,
                                                                                               const std::string& id,
                                                                                               absl::Time now) {
  const std::lock_guard lock(mutex_);
  EndExpiredLocked(now);
  ASSIGN_OR_RETURN(const Sessions::iterator found, FindLocked(owner, id));
  return std::make_pair(TokensOf(found->second.history), RolesOf(found->second.history));
}

int SessionStore::size(absl::Time now) {
  const std::lock_guard lock(mutex_);
  EndExpiredLocked(now);
  return static_cast<int>(sessions_.size());
}

absl::StatusOr<SessionTurn> SessionStore::BeginTurn(uint64_t owner, const std::string& id, absl::Time now) {
  const std::lock_guard lock(mutex_);
  EndExpiredLocked(now);
  ASSIGN_OR_RETURN(const Sessions::iterator found, FindLocked(owner, id));
  Session& session = found->second;
  if (session.ticket != 0) {
    return WithReason(absl::AbortedError("a request runs in this session: wait for its end, or fork the session"),
                      "SESSION_BUSY");
  }
  idle_.erase({session.expires, id});
  session.ticket = ++last_ticket_;
  return SessionTurn{id, session.ticket, session.history, session.terms.lease};
}

int SessionStore::EndTurn(SessionTurn turn, std::vector<TokenId> tokens, std::vector<std::string> roles,
                          const std::optional<Lease>& lease, absl::Time now) {
  std::shared_ptr<const SessionLease> taken;
  if (lease) taken = std::make_shared<const SessionLease>(*lease, end_lease_);
  const std::lock_guard lock(mutex_);
  const SessionHistoryPtr history = std::move(turn.history);
  const auto found = sessions_.find(turn.session);
  if (found == sessions_.end() || found->second.ticket != turn.ticket) return NumTokens(history);
  Session& session = found->second;
  session.ticket = 0;
  session.expires = now + session.terms.idle_timeout;
  idle_.insert({session.expires, found->first});
  if (!tokens.empty()) {
    session.history = std::make_shared<const SessionHistory>(history, std::move(tokens), std::move(roles));
    if (taken != nullptr) session.lease = std::move(taken);
  }
  return NumTokens(session.history);
}

absl::StatusOr<SessionStore::Sessions::iterator> SessionStore::FindLocked(uint64_t owner, const std::string& id) {
  const auto found = sessions_.find(id);
  if (found != sessions_.end() && found->second.owner == owner) return found;
  return WithReason(absl::NotFoundError("session_id: there is no such session: it was closed, or was idle for too long"),
                    "NO_SUCH_SESSION");
}

void SessionStore::EndExpiredLocked(absl::Time now) {
  while (!idle_.empty() && idle_.begin()->first <= now) RemoveLocked(sessions_.find(idle_.begin()->second));
}

void SessionStore::RemoveLocked(Sessions::iterator it) {
  idle_.erase({it->second.expires, it->first});
  sessions_.erase(it);
}

SessionInfo SessionStore::InfoOf(const Sessions::value_type& entry) {
  const Session& session = entry.second;
  SessionInfo info{entry.first, NumTokens(session.history), session.ticket != 0, session.expires, std::nullopt};
  if (session.lease != nullptr) info.lease = session.lease->lease();
  return info;
}

}  // namespace quire
