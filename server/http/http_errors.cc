#include "server/http/http_errors.h"

#include <string_view>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
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

const char* AnthropicTypeOf(int http_status) {
  switch (http_status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 413:
      return "request_too_large";
    case 429:
      return "rate_limit_error";
    case 503:
      return "overloaded_error";
    case 504:
      return "timeout_error";
    default:
      return http_status >= 500 ? "api_error" : "invalid_request_error";
  }
}

struct Error {
  int http_status;
  std::string message, param, code;
};

Json BodyOf(Error error, ErrorForm form) {
  if (form == ErrorForm::kAnthropic) {
    return {{"type", "error"},
            {"error", {{"type", AnthropicTypeOf(error.http_status)}, {"message", std::move(error.message)}}}};
  }
  return {{"error",
           {{"message", std::move(error.message)},
            {"type", TypeOf(error.http_status)},
            {"param", NullIfEmpty(std::move(error.param))},
            {"code", NullIfEmpty(std::move(error.code))}}}};
}

std::string CodeOf(const absl::Status& status) {
  if (std::string reason = ReasonOf(status); !reason.empty()) return absl::AsciiStrToLower(reason);
  return absl::IsResourceExhausted(status) ? "rate_limit_exceeded" : "";
}

}  // namespace

ErrorForm ErrorFormOf(const HttpRequest& request) {
  return absl::StartsWith(request.path, "/v1/messages") ? ErrorForm::kAnthropic : ErrorForm::kOpenAi;
}

Json ErrorBody(const absl::Status& status, ErrorForm form) {
  std::string field = FieldOf(status);
  if (absl::IsNotFound(status) && field.empty()) field = "model";
  return BodyOf({.http_status = HttpStatusOf(status.code()),
                 .message = absl::StrReplaceAll(status.message(), {{kGrpcPrefix, ""}}),
                 .param = std::string(absl::StripPrefix(field, kGrpcPrefix)),
                 .code = CodeOf(status)},
                form);
}

HttpResponse ErrorResponse(const absl::Status& status, ErrorForm form) {
  HttpResponse response = JsonResponse(ErrorBody(status, form));
  response.status = HttpStatusOf(status.code());
  if (const auto delay = RetryDelayOf(status)) {
    const int64_t milliseconds = absl::ToInt64Milliseconds(*delay);
    response.headers.emplace_back("Retry-After", absl::StrCat((milliseconds + 999) / 1000));
    response.headers.emplace_back("Retry-After-Ms", absl::StrCat(milliseconds));
  }
  return response;
}

HttpResponse ErrorResponse(int http_status, const std::string& message, ErrorForm form) {
  HttpResponse response = JsonResponse(BodyOf({http_status, message, "", ""}, form));
  response.status = http_status;
  return response;
}

}  // namespace quire
