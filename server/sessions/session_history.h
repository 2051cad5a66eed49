// SessionHistory: what a session has said so far. Immutable and shared: going on makes a link that refers to what was
// before, so that a fork costs the same whatever the history's length. References are taken and given up under the lock of
// the store that has them; whoever has one may read.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "block_manager/ids.h"

namespace quire {

class SessionHistory;
using SessionHistoryPtr = std::shared_ptr<const SessionHistory>;  // Null: nothing has been said.

class SessionHistory {
 public:
  // `roles` are those of the messages that the tokens are, where they came of a chat.
  SessionHistory(SessionHistoryPtr before, std::vector<TokenId> tokens, std::vector<std::string> roles);
  // However long the chain is, on a bounded stack.
  ~SessionHistory();
  SessionHistory(const SessionHistory&) = delete;
  SessionHistory& operator=(const SessionHistory&) = delete;

  // Of the whole history.
  int num_tokens() const { return num_tokens_; }

  friend std::vector<TokenId> TokensOf(const SessionHistoryPtr& history);
  friend std::vector<std::string> RolesOf(const SessionHistoryPtr& history);

 private:
  template <typename Item>
  static std::vector<Item> Collect(const SessionHistory* last, std::vector<Item> SessionHistory::*part, size_t size);

  mutable SessionHistoryPtr before_;  // Changed by the destructor of who comes after alone.
  std::vector<TokenId> tokens_;
  std::vector<std::string> roles_;
  int num_tokens_;
  size_t num_roles_;
};

// All of it, in order. O(its size).
std::vector<TokenId> TokensOf(const SessionHistoryPtr& history);
std::vector<std::string> RolesOf(const SessionHistoryPtr& history);
inline int NumTokens(const SessionHistoryPtr& history) { return history == nullptr ? 0 : history->num_tokens(); }

}  // namespace quire
