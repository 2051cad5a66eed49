#include "server/http/http_errors.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "server/status_details.h"

namespace quire {
namespace {

nlohmann::json ErrorOf(const HttpResponse& response) { return nlohmann::json::parse(response.body)["error"]; }

TEST(HttpErrors, NamesTheFieldAsHttpsClientsDo) {
  const HttpResponse response =
      ErrorResponse(WithFieldFromMessage(absl::InvalidArgumentError("sampling_params.top_p must be in (0, 1], got 2")));
  EXPECT_EQ(response.status, 400);
  EXPECT_EQ(ErrorOf(response)["param"], "top_p");
  EXPECT_EQ(ErrorOf(response)["message"], "top_p must be in (0, 1], got 2");
  EXPECT_EQ(ErrorOf(response)["type"], "invalid_request_error");
  EXPECT_TRUE(ErrorOf(response)["code"].is_null());
}

TEST(HttpErrors, TellsAnUnknownModelByItsCode) {
  const HttpResponse response = ErrorResponse(WithReason(absl::NotFoundError("no such model"), "MODEL_NOT_FOUND"));
  EXPECT_EQ(response.status, 404);
  EXPECT_EQ(ErrorOf(response)["code"], "model_not_found");
  EXPECT_EQ(ErrorOf(response)["param"], "model");
}

TEST(HttpErrors, TellsWhenToComeBack) {
  const HttpResponse response =
      ErrorResponse(WithRetryDelay(absl::ResourceExhaustedError("busy"), absl::Milliseconds(1200)));
  EXPECT_EQ(response.status, 429);
  EXPECT_EQ(ErrorOf(response)["code"], "rate_limit_exceeded");
  const std::vector<std::pair<std::string, std::string>> expected = {{"Retry-After", "2"}, {"Retry-After-Ms", "1200"}};
  EXPECT_EQ(response.headers, expected);
}

TEST(HttpErrors, GivesEachCodeItsStatus) {
  EXPECT_EQ(ErrorResponse(absl::UnavailableError("")).status, 503);
  EXPECT_EQ(ErrorResponse(absl::DeadlineExceededError("")).status, 504);
  EXPECT_EQ(ErrorResponse(absl::UnimplementedError("")).status, 501);
  EXPECT_EQ(ErrorResponse(absl::InternalError("")).status, 500);
  EXPECT_EQ(ErrorResponse(absl::UnknownError("")).status, 500);
  EXPECT_EQ(ErrorOf(ErrorResponse(absl::InternalError("")))["type"], "server_error");
}

TEST(HttpErrors, HaveTheFormOfTheApiThatThePathBelongsTo) {
  HttpRequest request;
  request.path = "/v1/messages/count_tokens";
  const HttpResponse refused = ErrorResponse(TryAgainLater("too much"), ErrorFormOf(request));
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(refused.body,
            R"({"type":"error","error":{"type":"rate_limit_error","message":"too much; try again later"}})");
  EXPECT_EQ(Json::parse(ErrorResponse(413, "too long", ErrorFormOf(request)).body)["error"]["type"],
            "request_too_large");
  request.path = "/v1/models";
  EXPECT_EQ(ErrorFormOf(request), ErrorForm::kOpenAi);
}

}  // namespace
}  // namespace quire
