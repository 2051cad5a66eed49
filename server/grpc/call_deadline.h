// When a call's client stops waiting for it.
#pragma once

#include <grpcpp/server_context.h>

#include "absl/time/time.h"

namespace quire {

// InfiniteFuture where it waits for as long as it takes.
inline absl::Time DeadlineOf(const grpc::ServerContextBase& context) {
  const std::chrono::system_clock::time_point deadline = context.deadline();
  return deadline == std::chrono::system_clock::time_point::max() ? absl::InfiniteFuture() : absl::FromChrono(deadline);
}

}  // namespace quire
