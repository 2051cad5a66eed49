#include "server/sessions/session_request.h"

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "engine/types/status_macros.h"
#include "server/sessions/session_prompt.h"

namespace quire {

SessionRequest::~SessionRequest() {
  if (turn_) store_.EndTurn(*std::exchange(turn_, std::nullopt), {}, {}, std::nullopt, absl::Now());
}

absl::StatusOr<std::vector<TokenId>> SessionRequest::MakePrompt(const Prompt& prompt, const std::string& field) {
  ASSIGN_OR_RETURN(SessionPrompt made, MakeSessionPrompt(turn_->history, prompt, field, tokenizer_, chat_template_));
  tokens_.assign(made.tokens.begin() + NumTokens(turn_->history), made.tokens.end());
  roles_ = std::move(made.roles);
  return std::move(made.tokens);
}

void SessionRequest::Deliver(ResponseDelta delta) {
  const SequenceOutput& output = delta.output;
  tokens_.insert(tokens_.end(), output.tokens.begin(), output.tokens.end());
  // The token that ends an answer is left to the template, which writes its own, and to whoever goes on in plain text. It
  // has not been computed either.
  const bool ended_itself = output.finish_reason == FinishReason::kStop && delta.stop_string.empty();
  const std::vector<TokenId>& ends = tokenizer_.end_tokens();
  if (ended_itself && !tokens_.empty() && std::ranges::count(ends, tokens_.back()) > 0) tokens_.pop_back();
  if (output.last) delta.session = EndTurn(output);
  sink_->Deliver(std::move(delta));
}

SessionState SessionRequest::EndTurn(const SequenceOutput& last) {
  SessionState state;
  state.id = turn_->session;
  if (!last.status.ok()) tokens_.clear();
  if (last.lease && last.lease->ok()) state.lease = **last.lease;
  state.num_tokens = store_.EndTurn(*std::exchange(turn_, std::nullopt), std::move(tokens_), std::move(roles_),
                                    state.lease, absl::Now());
  return state;
}

}  // namespace quire
