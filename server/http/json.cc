#include "server/http/json.h"

#include "absl/strings/str_cat.h"

namespace quire {

absl::StatusOr<Json> ParseJsonObject(std::string_view body) {
  absl::StatusOr<Json> json = ParseJson(body);
  if (!json.ok()) return absl::InvalidArgumentError(absl::StrCat("the body ", json.status().message()));
  if (!json->is_object()) return absl::InvalidArgumentError("the body must be a JSON object");
  return json;
}

std::string ToText(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

HttpResponse JsonResponse(const Json& json) { return {.body = ToText(json)}; }

}  // namespace quire
