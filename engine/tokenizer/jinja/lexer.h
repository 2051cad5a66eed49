// Cuts a template into text and the tokens of its tags, with the rules for white space that chat templates are written
// for (trim_blocks and lstrip_blocks, as transformers sets them).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace quire::jinja {

struct Token {
  enum Kind {
    kText,        // Outside of tags.
    kBlockBegin,  // {%
    kBlockEnd,
    kOutputBegin,  // {{
    kOutputEnd,
    kName,
    kString,  // `text` has its escapes resolved.
    kInteger,
    kFloat,
    kOperator,
    kEnd,
  };
  Kind kind;
  std::string text;
  int line;
};

// The last token is kEnd. INVALID_ARGUMENT names the line of what is no token.
absl::StatusOr<std::vector<Token>> Tokenize(std::string_view source);

}  // namespace quire::jinja
