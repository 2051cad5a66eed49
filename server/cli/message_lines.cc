#include "server/cli/message_lines.h"

#include <string_view>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace quire {
namespace {

constexpr char kQuotes[] = "\"\"\"";
constexpr size_t kQuotesLength = 3;

}  // namespace

bool MessageLines::Add(const std::string& line) {
  absl::StrAppend(&typed_, begun_ ? "\n" : "", line);
  if (!begun_ && absl::StartsWith(line, kQuotes)) {
    begun_ = quoted_ = true;
    return line.size() > kQuotesLength && AddQuoted(line.substr(kQuotesLength));
  }
  begun_ = true;
  if (quoted_) return AddQuoted(line);
  const bool goes_on = absl::EndsWith(line, "\\");
  absl::StrAppend(&text_, line.substr(0, line.size() - (goes_on ? 1 : 0)), goes_on ? "\n" : "");
  return !goes_on;
}

bool MessageLines::AddQuoted(std::string line) {
  const bool ends = absl::EndsWith(line, kQuotes);
  if (ends) line.resize(line.size() - kQuotesLength);
  absl::StrAppend(&text_, text_.empty() ? "" : "\n", line);
  return ends;
}

}  // namespace quire
