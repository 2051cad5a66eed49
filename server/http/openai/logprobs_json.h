// Log-probabilities in the two forms that OpenAI's endpoints have for them.
#pragma once

#include <string>
#include <vector>

#include "engine/tokenizer/tokenizer.h"
#include "engine/types/step_output.h"
#include "server/http/json.h"

namespace quire {

// The token's text, control tokens included; bytes that are no whole characters as "bytes:\xe2\x80".
std::string TokenName(const Tokenizer& tokenizer, TokenId token);

// The list in a chat's {"logprobs": {"content": [...]}}.
Json ChatLogprobs(const Tokenizer& tokenizer, const std::vector<TokenLogprob>& logprobs);

// A completion's {"tokens", "token_logprobs", "top_logprobs", "text_offset"}, token by token. A token is among its own
// alternatives, as evaluation programs expect.
class CompletionLogprobs {
 public:
  // `offset`: characters of the text before the first token. `tokenizer` outlives this object.
  CompletionLogprobs(const Tokenizer& tokenizer, int offset) : tokenizer_(tokenizer), offset_(offset) {}

  // A prompt's first token has no probability.
  void AddFirst(TokenId token);
  void Add(const TokenLogprob& logprob);

  int offset() const { return offset_; }
  Json Take();

 private:
  void AddName(TokenId token);

  const Tokenizer& tokenizer_;
  int offset_;
  Json tokens_ = Json::array(), values_ = Json::array(), tops_ = Json::array(), offsets_ = Json::array();
};

}  // namespace quire
