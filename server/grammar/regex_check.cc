#include "server/grammar/regex_check.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace quire {
namespace {

constexpr int kMaxGroups = 256;
// "a{2}{3}?" has three; more than a few are of no use.
constexpr int kMaxQuantifiersInARow = 8;

// The quantifier that `text` begins with; empty if it does not. REQUIRES: text is not empty.
std::string_view LeadingQuantifier(std::string_view text) {
  constexpr size_t kLongest = 32;  // Of "{1000,2000}", with room.
  if (text[0] == '*' || text[0] == '+' || text[0] == '?') return text.substr(0, 1);
  if (text[0] != '{') return {};
  const size_t end = text.substr(0, kLongest).find('}');
  return end == std::string_view::npos ? std::string_view() : text.substr(0, end + 1);
}

}  // namespace

// Whether a character is escaped or in a class does not matter here: nobody writes as many of these as themselves.
absl::Status CheckRegex(std::string_view regex) {
  const auto num_groups = std::count(regex.begin(), regex.end(), '(');
  if (num_groups > kMaxGroups) {
    return absl::InvalidArgumentError(absl::StrCat("must have at most ", kMaxGroups, " groups, got ", num_groups));
  }
  for (int in_a_row = 0; !regex.empty();) {
    const std::string_view quantifier = LeadingQuantifier(regex);
    in_a_row = quantifier.empty() ? 0 : in_a_row + 1;
    if (in_a_row > kMaxQuantifiersInARow) {
      return absl::InvalidArgumentError(
          absl::StrCat("must have at most ", kMaxQuantifiersInARow, " quantifiers in a row"));
    }
    regex.remove_prefix(std::max<size_t>(quantifier.size(), 1));
  }
  return absl::OkStatus();
}

}  // namespace quire
