// PendingResponses: what a stream of quire.v1 has still to send. At most one message for each sample: what a client has
// not taken yet is merged, so a slow reader costs the size of its answer and no more.
#pragma once

#include <deque>

#include "absl/status/status.h"
#include "quire/v1/inference.pb.h"
#include "server/request_context.h"

namespace quire {

class PendingResponses {
 public:
  using Message = v1::GenerateResponse;
  static constexpr Protocol kProtocol = Protocol::kQuire;

  // Adds to the waiting message of the delta's sample, or begins one.
  void Add(ResponseDelta delta);

  bool empty() const { return messages_.empty(); }
  // The oldest message; usage and timings are on the one after which nothing comes. REQUIRES: !empty().
  v1::GenerateResponse Pop();

 private:
  std::deque<v1::GenerateResponse> messages_;
  v1::GenerateResponse totals_;  // Usage and timings, once the request is over.
};

}  // namespace quire
