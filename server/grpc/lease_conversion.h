// Leases to and from the messages of quire.v1.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "block_manager/lease.h"
#include "engine/types/generate_request.h"
#include "quire/v1/cache.pb.h"

namespace quire {

inline constexpr absl::Duration kDefaultLeaseTtl = absl::Minutes(10);
inline constexpr absl::Duration kMaxLeaseTtl = absl::Hours(24);

void Convert(const Lease& lease, v1::Lease& proto);
// All that follow: INVALID_ARGUMENT names the field, of which LEASE_KIND_UNSPECIFIED is `otherwise`.
absl::StatusOr<LeaseKind> ParseLeaseKind(const std::string& field, v1::LeaseKind kind, LeaseKind otherwise);
// More than nothing, and at most `most`; `otherwise` where it is not set.
absl::StatusOr<absl::Duration> ParseDuration(const std::string& field, const google::protobuf::Duration* duration,
                                             absl::Duration otherwise, absl::Duration most);
absl::StatusOr<LeaseRequest> ParseLease(const v1::PinRequest& request);

}  // namespace quire
