// Page events as vllm.grpc.engine sends them.
#pragma once

#include <cstdint>
#include <span>

#include "server/kv_events.h"
#include "smg/common.pb.h"

namespace quire {

::smg::grpc::common::KvEventBatch ToMessage(const KvEventBatch& batch, int block_size);

// REQUIRES: index < snapshot.num_chunks().
::smg::grpc::common::KvEventBatch ToMessage(const KvSnapshot& snapshot, size_t index, int block_size);

// What KvEventReactor streams to readers of vllm.grpc.engine: everything.
class VllmKvEvents {
 public:
  using Request = ::smg::grpc::common::SubscribeKvEventsRequest;
  using Message = ::smg::grpc::common::KvEventBatch;

  VllmKvEvents(const Request& request, int block_size)
      : first_sequence_(request.start_sequence_number()), block_size_(block_size) {}

  uint64_t first_sequence() const { return first_sequence_; }
  bool Concerns(const PageEvent& /*event*/) const { return true; }
  Message MakeMessage(const KvEventBatch& batch) const { return ToMessage(batch, block_size_); }
  Message MakeMessage(const KvSnapshot& snapshot, size_t index) const { return ToMessage(snapshot, index, block_size_); }

 private:
  uint64_t first_sequence_;
  int block_size_;
};

}  // namespace quire
