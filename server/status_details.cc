#include "server/status_details.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "google/rpc/error_details.pb.h"

namespace quire {
namespace {

template <typename Detail>
std::string TypeUrl() {
  return absl::StrCat("type.googleapis.com/", Detail::descriptor()->full_name());
}

template <typename Detail>
absl::Status WithDetail(absl::Status status, const Detail& detail) {
  status.SetPayload(TypeUrl<Detail>(), absl::Cord(detail.SerializeAsString()));
  return status;
}

// A default one where the status has none.
template <typename Detail>
Detail DetailOf(const absl::Status& status) {
  Detail detail;
  const absl::optional<absl::Cord> payload = status.GetPayload(TypeUrl<Detail>());
  if (payload.has_value() && !detail.ParseFromString(std::string(*payload))) detail.Clear();
  return detail;
}

absl::Status WithFieldViolation(absl::Status status, const std::string& field) {
  google::rpc::BadRequest detail;
  auto* violation = detail.add_field_violations();
  violation->set_field(field);
  violation->set_description(std::string(status.message()));
  return WithDetail(std::move(status), detail);
}

bool IsPathCharacter(char c) {
  return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '_' || c == '.' || c == '[' || c == ']';
}

}  // namespace

absl::Status InvalidField(const std::string& field, const std::string& problem) {
  return WithFieldViolation(absl::InvalidArgumentError(absl::StrCat(field, " ", problem)), field);
}

absl::Status WithFieldFromMessage(absl::Status status) {
  if (!absl::IsInvalidArgument(status) || status.GetPayload(TypeUrl<google::rpc::BadRequest>())) return status;
  const std::string message(status.message());
  size_t end = 0;
  while (end < message.size() && IsPathCharacter(message[end])) ++end;
  return end == 0 ? status : WithFieldViolation(std::move(status), message.substr(0, end));
}

absl::Status AboutField(const std::string& field, const absl::Status& status) {
  if (!absl::IsInvalidArgument(status)) return status;
  return InvalidField(field, absl::StrCat("cannot be used: ", status.message()));
}

std::string FieldOf(const absl::Status& status) {
  const auto detail = DetailOf<google::rpc::BadRequest>(status);
  return detail.field_violations().empty() ? "" : detail.field_violations(0).field();
}

absl::Status WithRetryDelay(absl::Status status, absl::Duration delay) {
  google::rpc::RetryInfo detail;
  detail.mutable_retry_delay()->set_seconds(absl::IDivDuration(delay, absl::Seconds(1), &delay));
  detail.mutable_retry_delay()->set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(delay)));
  return WithDetail(std::move(status), detail);
}

absl::Status TryAgainLater(const std::string& problem) {
  const absl::Status status = absl::ResourceExhaustedError(absl::StrCat(problem, "; try again later"));
  return WithRetryDelay(WithReason(status, "TOO_MANY_REQUESTS"), absl::Seconds(1));
}

std::optional<absl::Duration> RetryDelayOf(const absl::Status& status) {
  const auto detail = DetailOf<google::rpc::RetryInfo>(status);
  if (!detail.has_retry_delay()) return std::nullopt;
  return absl::Seconds(detail.retry_delay().seconds()) + absl::Nanoseconds(detail.retry_delay().nanos());
}

absl::Status WithReason(absl::Status status, const std::string& reason) {
  google::rpc::ErrorInfo detail;
  detail.set_reason(reason);
  detail.set_domain("quire");
  return WithDetail(std::move(status), detail);
}

std::string ReasonOf(const absl::Status& status) { return DetailOf<google::rpc::ErrorInfo>(status).reason(); }

absl::Status WithSomeReason(absl::Status status) {
  if (status.ok() || status.GetPayload(TypeUrl<google::rpc::ErrorInfo>())) return status;
  const std::string name = absl::StatusCodeToString(status.code());
  return WithReason(std::move(status), name);
}

}  // namespace quire
