#include "server/grpc/lease_conversion.h"

#include "absl/strings/str_cat.h"
#include "engine/types/status_macros.h"
#include "server/grpc/time_conversion.h"
#include "server/status_details.h"

namespace quire {

void Convert(const Lease& lease, v1::Lease& proto) {
  proto.set_id(lease.id);
  proto.set_kind(lease.options.kind == LeaseKind::kPinned ? v1::LEASE_KIND_PINNED : v1::LEASE_KIND_PREFERRED);
  proto.set_priority(lease.options.priority);
  Convert(absl::FromUnixNanos(lease.options.expires), *proto.mutable_expires());
  proto.set_tokens(lease.num_tokens);
  proto.set_tokens_at_first(lease.num_tokens_at_first);
  proto.set_pages(lease.num_blocks);
}

absl::StatusOr<LeaseKind> ParseLeaseKind(const std::string& field, v1::LeaseKind kind, LeaseKind otherwise) {
  switch (kind) {
    case v1::LEASE_KIND_UNSPECIFIED:
      return otherwise;
    case v1::LEASE_KIND_PREFERRED:
      return LeaseKind::kPreferred;
    case v1::LEASE_KIND_PINNED:
      return LeaseKind::kPinned;
    default:
      return InvalidField(field, "must be LEASE_KIND_PREFERRED or LEASE_KIND_PINNED");
  }
}

absl::StatusOr<absl::Duration> ParseDuration(const std::string& field, const google::protobuf::Duration* duration,
                                             absl::Duration otherwise, absl::Duration most) {
  if (duration == nullptr) return otherwise;
  const absl::Duration parsed = absl::Seconds(duration->seconds()) + absl::Nanoseconds(duration->nanos());
  if (parsed > absl::ZeroDuration() && parsed <= most) return parsed;
  return InvalidField(field, absl::StrCat("must be more than 0 s and at most ", absl::ToInt64Seconds(most), " s, got ",
                                          absl::FormatDuration(parsed)));
}

absl::StatusOr<LeaseRequest> ParseLease(const v1::PinRequest& request) {
  LeaseRequest lease;
  ASSIGN_OR_RETURN(lease.kind, ParseLeaseKind("kind", request.kind(), LeaseKind::kPreferred));
  ASSIGN_OR_RETURN(lease.ttl,
                   ParseDuration("ttl", request.has_ttl() ? &request.ttl() : nullptr, kDefaultLeaseTtl, kMaxLeaseTtl));
  lease.or_preferred = request.or_preferred();
  lease.priority = request.priority();
  return lease;
}

}  // namespace quire
