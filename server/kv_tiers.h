// KvTiers: the tiers of KV pages outside the pool that the options ask for, with the threads that read and write them.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "block_manager/tiers/page_store.h"
#include "engine/tiers/page_tiers.h"
#include "server/backend.h"

namespace quire {

struct KvTierOptions {
  int64_t host_bytes = 0;               // 0: none.
  std::string disk_path;                // Empty: none.
  int64_t disk_bytes = int64_t{10} << 30;
  bool disk_recreate = false;           // A file of another model or layout is made anew, not refused.

  bool any() const { return host_bytes > 0 || !disk_path.empty(); }
};

class KvTiers {
 public:
  // INVALID_ARGUMENT names the flag and what would be right; FAILED_PRECONDITION says what the file is instead;
  // RESOURCE_EXHAUSTED which flag to lower; other errors what the file system says. What is wrong with a medium later is
  // logged. REQUIRES: backend outlives this.
  static absl::StatusOr<std::unique_ptr<KvTiers>> Open(const KvTierOptions& options, Backend& backend);

  // For the one engine, which this outlives. Without any tier there is nothing in it.
  TierOptions ForEngine() { return std::move(for_engine_); }

 private:
  struct Tier {
    IoThread thread;
    std::unique_ptr<PageStore> store;  // Waits for the thread when it is destroyed.
  };

  KvTiers() = default;
  void Add(KvTier tier, std::string name, std::unique_ptr<PageSlots> slots);

  std::array<std::unique_ptr<Tier>, kNumKvTiers> tiers_;
  TierOptions for_engine_;
};

}  // namespace quire
