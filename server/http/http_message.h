// HTTP requests and responses as handlers see them.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "engine/types/string_view.h"
#include "server/http/body_budget.h"
#include "server/tenants/tenant.h"

namespace quire {

struct HttpBody {
  std::string text;
  BodyBudget::Share share;  // Of the memory for bodies; goes where the text goes.
};

struct HttpRequest {
  std::string method;  // "GET" also for HEAD, whose answer is cut by the session.
  std::string path;    // Percent-decoded, without the query.
  std::string query;   // As it was sent: "a=1&b=2".
  std::vector<std::pair<std::string, std::string>> headers;
  HttpBody body;
  TenantPtr tenant = nullptr;  // Whose it is, once that is known.
  std::string id;  // The client's X-Request-Id, or one made up.

  // The first header of that name, in any case; empty where there is none.
  std::string_view Header(std::string_view name) const {
    for (const auto& [key, value] : headers) {
      if (absl::EqualsIgnoreCase(key, AbslView(name))) return value;
    }
    return {};
  }
};

struct HttpResponse {
  int status = 200;
  std::string body;
  std::string content_type = "application/json";
  std::vector<std::pair<std::string, std::string>> headers = {};  // Besides those of any response.
};

}  // namespace quire
