// The address of an HTTP server, taken apart.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace quire {

struct HttpUrl {
  std::string host;  // Without the brackets of an IPv6 address.
  std::string port;
  std::string path;       // What comes before "/v1/..."; empty or "/like/this".
  std::string authority;  // For the Host header.
};

// Of "http://host[:port][/path]"; a path that ends in "/v1" means the same without it, as people write both.
// INVALID_ARGUMENT says what is wrong.
absl::StatusOr<HttpUrl> ParseHttpUrl(std::string_view url);

}  // namespace quire
