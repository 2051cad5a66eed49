// SessionRequest: a request that runs in a session. It puts the history before the prompt, and makes what came part of
// the history before the client learns of the end, so that the next request may follow at once.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/tokenizer/chat_template.h"
#include "engine/tokenizer/tokenizer.h"
#include "server/prompt.h"
#include "server/request_context.h"
#include "server/sessions/session_store.h"

namespace quire {

// Belongs to one request: the text worker makes its prompt, then the stream thread delivers. The session is idle again
// when this is destroyed, at the latest.
class SessionRequest final : public ResponseSink {
 public:
  // `store`, `tokenizer` and `chat_template`, which may be null, outlive this object; `sink` as in RequestContext.
  SessionRequest(SessionStore& store, SessionTurn turn, const Tokenizer& tokenizer, const ChatTemplate* chat_template,
                 ResponseSink* sink)
      : store_(store), tokenizer_(tokenizer), chat_template_(chat_template), sink_(sink), turn_(std::move(turn)) {}
  ~SessionRequest() override;

  // See MakeSessionPrompt.
  absl::StatusOr<std::vector<TokenId>> MakePrompt(const Prompt& prompt, const std::string& field);
  const LeaseRequest& lease() const { return turn_->lease; }

  void Deliver(ResponseDelta delta) override;

 private:
  SessionState EndTurn(const SequenceOutput& last);

  SessionStore& store_;
  const Tokenizer& tokenizer_;
  const ChatTemplate* const chat_template_;
  ResponseSink* const sink_;
  std::optional<SessionTurn> turn_;  // Until it is over.
  std::vector<TokenId> tokens_;      // Since the history: the prompt's new ones, then the answer's.
  std::vector<std::string> roles_;
};

}  // namespace quire
