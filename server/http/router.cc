#include "server/http/router.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/http/http_errors.h"

namespace quire {

void Router::Add(const std::string& method, const std::string& path, HttpHandler handler) {
  const bool prefix = absl::EndsWith(path, "*");
  Methods& methods = prefix ? prefixes_[path.substr(0, path.size() - 1)] : exact_[path];
  methods[method] = std::move(handler);
}

void Router::AddSimple(const std::string& method, const std::string& path,
                       std::function<HttpResponse(const HttpRequest&)> handler) {
  Add(method, path, [handler = std::move(handler)](HttpExchange& exchange) -> asio::awaitable<void> {
    return exchange.Respond(handler(exchange.request()));
  });
}

asio::awaitable<void> Router::Handle(HttpExchange& exchange) const {
  const HttpRequest& request = exchange.request();
  if (const std::string path = PathWithoutSlash(request.path); !path.empty()) {
    HttpResponse elsewhere{.status = 307, .body = "", .content_type = ""};
    elsewhere.headers.emplace_back("Location", request.query.empty() ? path : absl::StrCat(path, "?", request.query));
    return exchange.Respond(std::move(elsewhere));
  }
  const Methods* methods = Find(request.path);
  if (methods == nullptr) {
    return exchange.Respond(
        ErrorResponse(404, absl::StrCat("there is nothing at ", request.path), ErrorFormOf(request)));
  }
  const auto handler = methods->find(request.method);
  if (handler != methods->end()) return handler->second(exchange);
  std::string allowed;
  for (const auto& [method, unused] : *methods) absl::StrAppend(&allowed, allowed.empty() ? "" : ", ", method);
  HttpResponse response = ErrorResponse(
      405, absl::StrCat(request.path, " answers to ", allowed, ", not to ", request.method), ErrorFormOf(request));
  response.headers.emplace_back("Allow", std::move(allowed));
  return exchange.Respond(std::move(response));
}

std::string Router::PathWithoutSlash(const std::string& path) const {
  if (!absl::EndsWith(path, "/") || exact_.contains(path)) return "";
  std::string shorter = path.substr(0, path.size() - 1);
  return exact_.contains(shorter) ? shorter : "";
}

const Router::Methods* Router::Find(const std::string& path) const {
  if (const auto it = exact_.find(path); it != exact_.end()) return &it->second;
  const Methods* best = nullptr;
  for (const auto& [prefix, methods] : prefixes_) {  // In order: a longer one comes after those that it begins with.
    if (absl::StartsWith(path, prefix)) best = &methods;
  }
  return best;
}

}  // namespace quire
