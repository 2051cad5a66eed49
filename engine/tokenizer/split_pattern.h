// The regular expression with which a byte-level BPE vocabulary was trained: it cuts text into words that are then
// encoded one by one, so that no token crosses their borders.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace quire {

// Immutable once made; any thread may call it.
class SplitPattern {
 public:
  // By the name that GGUF gives it (tokenizer.ggml.pre). INVALID_ARGUMENT names one that is not known.
  static absl::StatusOr<SplitPattern> Make(const std::string& name);
  SplitPattern(SplitPattern&&) noexcept;
  SplitPattern& operator=(SplitPattern&&) noexcept;
  ~SplitPattern();

  // Calls `take` with the words of `text` in order; together they are the text. Time linear in the text, whatever the
  // text. REQUIRES: text is valid UTF-8.
  absl::Status Split(std::string_view text, absl::FunctionRef<void(std::string_view)> take) const;

  // The regular expression, in the syntax that PCRE2, Oniguruma and Rust have in common.
  const std::string& pattern() const { return pattern_; }
  // Whether a word that is a token by itself is taken whole, even where its merges would not lead to it.
  bool prefers_whole_words() const { return prefers_whole_words_; }

 private:
  struct Code;
  SplitPattern(std::string pattern, std::unique_ptr<Code> code, bool prefers_whole_words);

  std::string pattern_;
  std::unique_ptr<Code> code_;
  bool prefers_whole_words_;
};

}  // namespace quire
