#include "server/http/url.h"

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "engine/types/string_view.h"

namespace quire {
namespace {

bool IsEscape(std::string_view text) {
  return text.size() >= 3 && text[0] == '%' && absl::ascii_isxdigit(text[1]) && absl::ascii_isxdigit(text[2]);
}

// What is behind scheme and host, where a target has them, as a request to a proxy does.
std::string_view WithoutOrigin(std::string_view target) {
  for (const absl::string_view scheme : {"http://", "https://"}) {
    if (!absl::StartsWithIgnoreCase(AbslView(target), scheme)) continue;
    const size_t path = target.find_first_of("/?", scheme.size());
    return path == target.npos ? "/" : target.substr(path);
  }
  return target;
}

std::string Unescape(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    const bool escape = IsEscape(text);
    result += escape ? absl::HexStringToBytes(AbslView(text.substr(1, 2))) : std::string(1, text[0]);
    text.remove_prefix(escape ? 3 : 1);
  }
  return result;
}

}  // namespace

std::pair<std::string, std::string> SplitTarget(std::string_view target) {
  target = WithoutOrigin(target);
  const size_t question = target.find('?');
  const std::string_view query = question == target.npos ? "" : target.substr(question + 1);
  return {question == 0 ? "/" : Unescape(target.substr(0, question)), std::string(query)};
}

std::vector<std::pair<std::string, std::string>> SplitQuery(std::string_view query) {
  std::vector<std::pair<std::string, std::string>> fields;
  for (const absl::string_view field : absl::StrSplit(AbslView(query), '&', absl::SkipEmpty())) {
    const std::pair<std::string, std::string> parts = absl::StrSplit(field, absl::MaxSplits('=', 1));
    const auto decode = [](const std::string& text) { return Unescape(absl::StrReplaceAll(text, {{"+", " "}})); };
    fields.emplace_back(decode(parts.first), decode(parts.second));
  }
  return fields;
}

}  // namespace quire
