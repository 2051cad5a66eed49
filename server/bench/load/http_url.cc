#include "server/bench/load/http_url.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/types/string_view.h"

namespace quire {

absl::StatusOr<HttpUrl> ParseHttpUrl(std::string_view url) {
  constexpr std::string_view kScheme = "http://";
  const auto refuse = [url](const char* problem) {
    return absl::InvalidArgumentError(absl::StrCat("--url ", problem, ", got \"", AbslView(url), "\""));
  };
  if (url.starts_with("https://")) return refuse("must be plain http; a local proxy can speak TLS");
  if (!url.starts_with(kScheme)) return refuse("must begin with http://");
  std::string_view rest = url.substr(kScheme.size());

  HttpUrl parsed;
  const size_t slash = std::min(rest.find('/'), rest.size());
  parsed.path = rest.substr(slash);
  parsed.authority = rest.substr(0, slash);
  while (parsed.path.ends_with('/')) parsed.path.pop_back();
  if (parsed.path.ends_with("/v1")) parsed.path.resize(parsed.path.size() - 3);

  std::string_view authority = parsed.authority;
  const size_t bracket = authority.starts_with('[') ? authority.find(']') : 0;
  if (bracket == std::string_view::npos) return refuse("has a bracket that is not closed");
  const size_t colon = authority.find(':', bracket);
  parsed.host = authority.substr(0, colon);
  parsed.port = colon == std::string_view::npos ? "80" : std::string(authority.substr(colon + 1));
  if (parsed.host.starts_with('[')) parsed.host = parsed.host.substr(1, bracket - 1);
  if (parsed.host.empty()) return refuse("names no host");
  if (parsed.port.empty() || parsed.port.find_first_not_of("0123456789") != std::string::npos) {
    return refuse("has a port that is no number");
  }
  return parsed;
}

}  // namespace quire
