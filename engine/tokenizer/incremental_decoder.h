// Turns one sample's tokens into text as they come: never half a character, and never text that a stop string could still
// take back.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/tokenizer/tokenizer.h"

namespace quire {

class IncrementalDecoder {
 public:
  // `tokenizer` outlives the decoder. Stop strings are not empty.
  IncrementalDecoder(const Tokenizer* tokenizer, std::vector<std::string> stop);

  // Adds a token; returns the text that is now certain: whole UTF-8 characters, none that could begin a stop string. After a
  // stop string was found: nothing more. `allow_stop` false (below min_tokens) leaves stop strings that end here unheeded.
  std::string Push(TokenId token, bool allow_stop = true);
  // The sample is over: what was held back, an incomplete character as U+FFFD.
  std::string Finish();
  bool stopped() const { return stopped_; }

 private:
  std::string Certain(bool at_end);

  const Tokenizer* tokenizer_;
  std::vector<std::string> stop_;
  std::string pending_;  // Bytes not yet given out.
  bool stopped_ = false;
};

}  // namespace quire
