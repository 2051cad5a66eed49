#include "server/sessions/session_history.h"

#include <algorithm>
#include <utility>

namespace quire {

SessionHistory::SessionHistory(SessionHistoryPtr before, std::vector<TokenId> tokens, std::vector<std::string> roles)
    : before_(std::move(before)),
      tokens_(std::move(tokens)),
      roles_(std::move(roles)),
      num_tokens_(NumTokens(before_) + static_cast<int>(tokens_.size())),
      num_roles_((before_ == nullptr ? 0 : before_->num_roles_) + roles_.size()) {}

SessionHistory::~SessionHistory() {
  SessionHistoryPtr last = std::move(before_);
  // Whoever holds the last reference takes the link before over, instead of ending it in a destructor's destructor.
  while (last != nullptr && last.use_count() == 1) last = std::exchange(last->before_, nullptr);
}

template <typename Item>
std::vector<Item> SessionHistory::Collect(const SessionHistory* last, std::vector<Item> SessionHistory::*part,
                                          size_t size) {
  std::vector<Item> all(size);
  auto end = all.end();
  for (; last != nullptr; last = last->before_.get()) {
    const std::vector<Item>& items = last->*part;
    end = std::copy_backward(items.begin(), items.end(), end);
  }
  return all;
}

std::vector<TokenId> TokensOf(const SessionHistoryPtr& history) {
  if (history == nullptr) return {};
  return SessionHistory::Collect(history.get(), &SessionHistory::tokens_, static_cast<size_t>(history->num_tokens_));
}

std::vector<std::string> RolesOf(const SessionHistoryPtr& history) {
  if (history == nullptr) return {};
  return SessionHistory::Collect(history.get(), &SessionHistory::roles_, history->num_roles_);
}

}  // namespace quire
