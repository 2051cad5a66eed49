// Machine-readable details of an error, carried in absl::Status payloads whose type URLs are those of the google.rpc
// messages that they hold. The gRPC front copies them into the error it sends.
#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace quire {

// INVALID_ARGUMENT "<field> <problem>" with a google.rpc.BadRequest for the field, which is given by its path in the
// request: "sampling_params.top_p", "messages[2].role".
absl::Status InvalidField(const std::string& field, const std::string& problem);

// The same for an INVALID_ARGUMENT from below, whose message by convention begins with the field's path. A status of
// another code, or that has a BadRequest, is returned as it is.
absl::Status WithFieldFromMessage(absl::Status status);
// An INVALID_ARGUMENT from below that knows nothing of fields, said about this one; other codes are returned as they are.
absl::Status AboutField(const std::string& field, const absl::Status& status);
// Empty where there is no BadRequest.
std::string FieldOf(const absl::Status& status);

// Adds a google.rpc.RetryInfo.
absl::Status WithRetryDelay(absl::Status status, absl::Duration delay);
// RESOURCE_EXHAUSTED "<problem>; try again later" with a delay of a second and the reason TOO_MANY_REQUESTS.
absl::Status TryAgainLater(const std::string& problem);
std::optional<absl::Duration> RetryDelayOf(const absl::Status& status);

// Adds a google.rpc.ErrorInfo of domain "quire": a constant that programs can tell cases of one code apart by.
absl::Status WithReason(absl::Status status, const std::string& reason);
// Empty where there is no ErrorInfo.
std::string ReasonOf(const absl::Status& status);
// Adds one with the code's name, where there is none: every error has a reason.
absl::Status WithSomeReason(absl::Status status);

}  // namespace quire
