// The grammar compiler's EBNF: what of it is not followed to the letter, and how other things are said in it.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace quire {

// INVALID_ARGUMENT "must not use ..." or "must have ..."; says nothing about syntax, which the grammar compiler reads.
absl::Status CheckEbnf(std::string_view grammar);

// `text` in quotes.
std::string EbnfLiteral(std::string_view text);

// A grammar of what `regex` matches from end to end. The dot does not match the end of a line.
std::string EbnfOfRegex(std::string_view regex);

}  // namespace quire
