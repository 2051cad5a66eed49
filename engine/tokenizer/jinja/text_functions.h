// The methods that Python's strings have, as far as chat templates use them.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "engine/tokenizer/jinja/builtins.h"

namespace quire::jinja {

// text.name(arguments).
absl::StatusOr<Value> CallTextMethod(std::string_view name, const std::string& text, const Arguments& arguments,
                                     Budget& budget);

absl::StatusOr<Value> ReplaceText(const std::string& text, const Arguments& arguments, Budget& budget);
// text % arguments, of which it knows %s, %d and %f with a width and a precision, and %%.
absl::StatusOr<Value> FormatText(std::string_view text, const Arguments& arguments, Budget& budget);
std::string_view StripText(std::string_view text, bool left, bool right, const std::string* characters);
std::string UpperText(std::string_view text);
std::string LowerText(std::string_view text);
std::string TitleText(std::string_view text);
std::string CapitalizeText(std::string_view text);

// Where the characters of valid UTF-8 begin, and its end. Charged by the text's length.
absl::StatusOr<std::vector<size_t>> CharacterBounds(std::string_view text, Budget& budget);

}  // namespace quire::jinja
