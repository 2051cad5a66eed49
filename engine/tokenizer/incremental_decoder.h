// Turns one sample's tokens into text as they come: never half a character, and never text that a stop string could
// still take back.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/tokenizer/tokenizer.h"

namespace quire {

// Whatever the tokens' borders, the text given out in all is the whole text up to the earliest place where a stop
// string begins. Takes time linear in the text, for each stop string.
class IncrementalDecoder {
 public:
  // `tokenizer` outlives the decoder. Stop strings are valid UTF-8 and not empty. Control tokens have no text, but for
  // those in `shown`, which have their names.
  IncrementalDecoder(const Tokenizer* tokenizer, std::vector<std::string> stop, std::vector<TokenId> shown = {});

  // Adds a token; returns the text that is now certain: whole UTF-8 characters, none that could begin a stop string.
  // After a stop string was found: nothing more. `allow_stop` false (below min_tokens) leaves stop strings that end
  // here unheeded.
  std::string Push(TokenId token, bool allow_stop = true);
  // The sample is over: what was held back, an incomplete character as U+FFFD.
  std::string Finish();
  bool stopped() const { return stopped_; }
  // The stop string that was found. REQUIRES: stopped().
  const std::string& stop_string() const { return stop_[found_].text; }

 private:
  // One stop string and how much of it the text ends with, followed as Knuth, Morris and Pratt do.
  struct StopString {
    explicit StopString(std::string stop_text);
    // The text goes on with `byte`. True when the stop string is now complete.
    bool Advance(char byte);

    std::string text;
    std::vector<size_t> border;  // By length of a prefix: of the longest proper prefix that it also ends with.
    size_t matched = 0;          // Bytes of `text` that end the text so far.
  };

  // Moves the whole characters of undecoded_ to the text and looks for stop strings in them.
  void Decode(bool at_end, bool allow_stop);
  // Where the earliest stop string that is not complete yet may begin: the end of the text if none does.
  size_t EarliestPartial() const;
  // Gives out the text before `end`.
  std::string TakeUntil(size_t end);

  const Tokenizer* tokenizer_;
  std::vector<StopString> stop_;
  std::vector<TokenId> shown_;
  std::string undecoded_;             // Bytes that are no whole character yet.
  std::string text_;                  // Not all given out yet. Offsets into it:
  size_t taken_ = 0;                  // What was given out.
  std::optional<size_t> stop_begin_;  // The earliest complete stop string,
  size_t found_ = 0;                  // and which one it is.
  bool stopped_ = false;
};

}  // namespace quire
