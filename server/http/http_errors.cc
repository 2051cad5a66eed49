#include "server/http/http_errors.h"

#include <string_view>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "server/http/json.h"
#include "server/status_details.h"

namespace quire {
namespace {

// Where gRPC's requests keep what HTTP's have at the top.
constexpr char kGrpcPrefix[] = "sampling_params.";

int HttpStatusOf(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kOutOfRange:
      return 400;
    case absl::StatusCode::kUnauthenticated:
      return 401;
    case absl::StatusCode::kPermissionDenied:
      return 403;
    case absl::StatusCode::kNotFound:
      return 404;
    case absl::StatusCode::kResourceExhausted:
      return 429;
    case absl::StatusCode::kCancelled:
      return 499;
    case absl::StatusCode::kUnimplemented:
      return 501;
    case absl::StatusCode::kUnavailable:
      return 503;
    case absl::StatusCode::kDeadlineExceeded:
      return 504;
    default:
      return 500;
  }
}

const char* TypeOf(int http_status) {
  if (http_status == 401) return "authentication_error";
  if (http_status == 403) return "permission_error";
  if (http_status == 429) return "rate_limit_error";
  return http_status >= 500 ? "server_error" : "invalid_request_error";
}

Json NullIfEmpty(std::string text) { return text.empty() ? Json() : Json(std::move(text)); }

Json MakeBody(int http_status, std::string message, std::string param, std::string code) {
  return {{"error",
           {{"message", std::move(message)},
            {"type", TypeOf(http_status)},
            {"param", NullIfEmpty(std::move(param))},
            {"code", NullIfEmpty(std::move(code))}}}};
}

std::string CodeOf(const absl::Status& status) {
  if (std::string reason = ReasonOf(status); !reason.empty()) return absl::AsciiStrToLower(reason);
  return absl::IsResourceExhausted(status) ? "rate_limit_exceeded" : "";
}

}  // namespace

Json ErrorBody(const absl::Status& status) {
  std::string field = FieldOf(status);
  if (absl::IsNotFound(status) && field.empty()) field = "model";
  return MakeBody(HttpStatusOf(status.code()), absl::StrReplaceAll(status.message(), {{kGrpcPrefix, ""}}),
                  std::string(absl::StripPrefix(field, kGrpcPrefix)), CodeOf(status));
}

HttpResponse ErrorResponse(const absl::Status& status) {
  HttpResponse response = JsonResponse(ErrorBody(status));
  response.status = HttpStatusOf(status.code());
  if (const auto delay = RetryDelayOf(status)) {
    const int64_t milliseconds = absl::ToInt64Milliseconds(*delay);
    response.headers.emplace_back("Retry-After", absl::StrCat((milliseconds + 999) / 1000));
    response.headers.emplace_back("Retry-After-Ms", absl::StrCat(milliseconds));
  }
  return response;
}

HttpResponse ErrorResponse(int http_status, const std::string& message) {
  HttpResponse response = JsonResponse(MakeBody(http_status, message, "", ""));
  response.status = http_status;
  return response;
}

}  // namespace quire
