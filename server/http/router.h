// Router: which handler answers which method and path.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "server/http/http_exchange.h"

namespace quire {

// Constant once the server runs.
class Router {
 public:
  // `path` is exact, or ends with "*" and stands for all that begin so; the longest one that fits is taken.
  void Add(const std::string& method, const std::string& path, HttpHandler handler);
  // The same for answers that need no waiting.
  void AddSimple(const std::string& method, const std::string& path,
                 std::function<HttpResponse(const HttpRequest&)> handler);

  // Answers by the handler that fits; 404 or 405 when there is none, and 307 where there is something but for a slash at
  // the end. The router outlives the coroutine.
  asio::awaitable<void> Handle(HttpExchange& exchange) const;

 private:
  using Methods = std::map<std::string, HttpHandler>;

  const Methods* Find(const std::string& path) const;
  // What `path` should have been; empty if it is right, or nothing comes near it.
  std::string PathWithoutSlash(const std::string& path) const;

  std::map<std::string, Methods> exact_;
  std::map<std::string, Methods> prefixes_;
};

}  // namespace quire
