// TextLogprobs: which of an answer's log-probabilities belong to a part of its text, where calls of tools are left out
// of the text, and stop strings, and control tokens.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/tokenizer/tokenizer.h"
#include "engine/types/step_output.h"

namespace quire {

class TextLogprobs {
 public:
  // `tokenizer` outlives this object.
  explicit TextLogprobs(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  // Of the answer's next tokens. Their text may come later.
  void Add(const std::vector<TokenLogprob>& logprobs);

  // Of the tokens that `text`, the next of the answer that is shown, consists of. A token between two texts is given
  // with the first; those before `text` that were not shown are passed over.
  std::vector<TokenLogprob> Take(std::string_view text);

 private:
  const Tokenizer& tokenizer_;
  std::vector<TokenLogprob> tokens_;  // Not given yet.
  std::string bytes_;                 // What the last given token has beyond the text, and then theirs.
  size_t rest_ = 0;                   // Bytes of the former.
};

}  // namespace quire
