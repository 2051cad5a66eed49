#include "server/http/openai/models.h"

#include <string>

#include "server/http/http_errors.h"
#include "server/http/json.h"

namespace quire {
namespace {

Json Describe(const HttpApi& api) {
  return {{"id", api.model().name},
          {"object", "model"},
          {"created", absl::ToUnixSeconds(api.started)},
          {"owned_by", "quire"},
          {"root", api.model().name},
          {"parent", nullptr},
          {"max_model_len", api.model().max_model_len}};
}

}  // namespace

HttpResponse ListModels(const HttpApi& api) {
  return JsonResponse({{"object", "list"}, {"data", Json::array({Describe(api)})}});
}

HttpResponse GetModel(const HttpApi& api, const HttpRequest& request) {
  constexpr size_t kPrefixLength = sizeof("/v1/models/") - 1;
  const absl::Status status = api.checks.Model(request.path.substr(kPrefixLength));
  return status.ok() ? JsonResponse(Describe(api)) : ErrorResponse(status);
}

}  // namespace quire
