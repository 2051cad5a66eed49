#include "server/grpc/status_conversion.h"

#include <gtest/gtest.h>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "server/status_details.h"

namespace quire {
namespace {

google::rpc::Status Details(const grpc::Status& status) {
  google::rpc::Status proto;
  EXPECT_TRUE(proto.ParseFromString(status.error_details()));
  return proto;
}

// The one detail of this kind; empty, and a failure, unless there is exactly one.
template <typename Detail>
Detail DetailOf(const grpc::Status& status) {
  Detail found;
  int count = 0;
  const google::rpc::Status proto = Details(status);
  for (const auto& detail : proto.details()) count += detail.UnpackTo(&found);
  EXPECT_EQ(count, 1);
  return found;
}

TEST(StatusConversion, KeepsCodeAndMessage) {
  EXPECT_TRUE(ToGrpcStatus(absl::OkStatus()).ok());
  const grpc::Status status = ToGrpcStatus(absl::NotFoundError("no such model"));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(status.error_message(), "no such model");
  EXPECT_EQ(Details(status).code(), 5);
  EXPECT_EQ(Details(status).message(), "no such model");
}

TEST(StatusConversion, NamesTheFieldOfABadRequest) {
  const grpc::Status status = ToGrpcStatus(InvalidField("messages[2].role", "must be set"));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(status.error_message(), "messages[2].role must be set");
  const auto detail = DetailOf<google::rpc::BadRequest>(status);
  ASSERT_EQ(detail.field_violations_size(), 1);
  EXPECT_EQ(detail.field_violations(0).field(), "messages[2].role");
  EXPECT_EQ(detail.field_violations(0).description(), "messages[2].role must be set");
}

TEST(StatusConversion, CarriesTheDelayUntilARetry) {
  const absl::Status status = WithRetryDelay(absl::ResourceExhaustedError("busy"), absl::Milliseconds(2500));
  EXPECT_EQ(RetryDelayOf(status), absl::Milliseconds(2500));
  const auto detail = DetailOf<google::rpc::RetryInfo>(ToGrpcStatus(status));
  EXPECT_EQ(detail.retry_delay().seconds(), 2);
  EXPECT_EQ(detail.retry_delay().nanos(), 500'000'000);
}

TEST(StatusConversion, CarriesAReasonForPrograms) {
  const auto detail = DetailOf<google::rpc::ErrorInfo>(ToGrpcStatus(WithReason(absl::UnavailableError("x"), "WHY")));
  EXPECT_EQ(detail.reason(), "WHY");
  EXPECT_EQ(detail.domain(), "quire");
}

TEST(StatusConversion, GivesEveryErrorAReason) {
  EXPECT_EQ(DetailOf<google::rpc::ErrorInfo>(ToGrpcStatus(absl::InternalError("x"))).reason(), "INTERNAL");
  EXPECT_EQ(DetailOf<google::rpc::ErrorInfo>(ToGrpcStatus(InvalidField("text", "must not"))).reason(),
            "INVALID_ARGUMENT");
  EXPECT_EQ(ToGrpcStatus(absl::OkStatus()).error_details(), "");
}

TEST(StatusDetails, TakesTheFieldFromTheMessageWhereOneIsNamedFirst) {
  const auto field = [](const absl::Status& status) {
    const google::rpc::Status details = Details(ToGrpcStatus(WithFieldFromMessage(status)));
    google::rpc::BadRequest bad;
    for (const auto& detail : details.details()) {
      if (detail.UnpackTo(&bad)) return bad.field_violations(0).field();
    }
    return std::string();
  };
  EXPECT_EQ(field(absl::InvalidArgumentError("sampling_params.stop[3] must be short")), "sampling_params.stop[3]");
  EXPECT_EQ(field(absl::InvalidArgumentError("prompt: too long")), "prompt");
  EXPECT_EQ(field(absl::InvalidArgumentError("Something else")), "");
  EXPECT_EQ(field(absl::InternalError("prompt broke")), "");
  EXPECT_EQ(field(InvalidField("text", "must not")), "text");
}

}  // namespace
}  // namespace quire
