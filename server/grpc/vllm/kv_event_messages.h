// Page events as vllm.grpc.engine sends them.
#pragma once

#include <cstdint>
#include <span>

#include "server/kv_events.h"
#include "smg/common.pb.h"

namespace quire {

::smg::grpc::common::KvEventBatch ToMessage(const KvEventBatch& batch, int block_size);

// A list of the pages that can be shared, in parts with numbers of their own.
struct KvSnapshot {
  static constexpr size_t kPagesPerChunk = 512;

  std::vector<PageEvent> pages;  // Parents before children.
  uint64_t sequence = 0;         // Of the last batch before it; the last part has this number.
  absl::Time time;

  // At least one: also that there is nothing must be said.
  size_t num_chunks() const { return pages.empty() ? 1 : (pages.size() + kPagesPerChunk - 1) / kPagesPerChunk; }
};

// REQUIRES: index < snapshot.num_chunks().
::smg::grpc::common::KvEventBatch ToMessage(const KvSnapshot& snapshot, size_t index, int block_size);

}  // namespace quire
