#include "server/kv_tiers.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "block_manager/tiers/disk_slots.h"
#include "block_manager/tiers/memory_slots.h"
#include "engine/types/status_macros.h"
#include "server/cli/backend_flags.h"
#include "server/version.h"
#include "spdlog/spdlog.h"

namespace quire {
namespace {

// Memory that pages pass through on their way: enough to fetch a long prompt's in one go where pages are small, and for a
// few of them to be under way where they are large.
constexpr int64_t kStagingBytes = int64_t{64} << 20;
constexpr int64_t kFewestStaged = 16, kMostStaged = 1024;

PageFormat FormatOf(const Backend& backend) {
  const KvLayout& layout = backend.kv_cache->layout();
  PageFormat format;
  format.model_fingerprint = backend.model.fingerprint;
  format.page_tokens = layout.page_size;
  format.page_bytes = layout.BytesPerPage();
  format.layout = absl::StrCat(layout.num_layers, " layers, ", layout.num_kv_heads, " heads of ", layout.head_dim, ", ",
                               DescribeKvDTypes(layout));
  // Another version may round otherwise.
  format.arithmetic = absl::StrCat("quire ", kVersion, ", ", backend.Arithmetic());
  return format;
}

absl::StatusOr<std::unique_ptr<PageSlots>> OpenHost(const KvTierOptions& options, const PageFormat& format) {
  const int64_t num_pages =
      std::min<int64_t>(options.host_bytes / format.page_bytes, std::numeric_limits<SlotId>::max() / 2);
  if (num_pages < 1) {
    return absl::InvalidArgumentError(absl::StrCat("--kv-host-memory must be at least a page, ", format.page_bytes,
                                                   " bytes, got ", options.host_bytes));
  }
  auto slots = MemorySlots::Create(static_cast<int>(num_pages), format.page_tokens, format.page_bytes);
  if (slots.ok()) return *std::move(slots);
  return absl::Status(slots.status().code(),
                      absl::StrCat("lower --kv-host-memory: ", std::string(slots.status().message())));
}

absl::StatusOr<std::unique_ptr<PageSlots>> OpenDisk(const KvTierOptions& options, const PageFormat& format) {
  auto slots = DiskSlots::Open({.path = options.disk_path,
                                .max_bytes = options.disk_bytes,
                                .format = format,
                                .recreate = options.disk_recreate});
  if (slots.ok()) return *std::move(slots);
  const absl::Status& status = slots.status();
  const bool other = absl::IsFailedPrecondition(status);
  return absl::Status(status.code(), absl::StrCat("--kv-disk-path: ", options.disk_path, " ",
                                                  std::string(status.message()),
                                                  other ? "; --kv-disk-recreate makes it anew" : ""));
}

}  // namespace

absl::StatusOr<std::unique_ptr<KvTiers>> KvTiers::Open(const KvTierOptions& options, Backend& backend) {
  std::unique_ptr<KvTiers> tiers(new KvTiers());
  if (!options.any()) return tiers;
  const PageFormat format = FormatOf(backend);
  if (options.host_bytes > 0) {
    ASSIGN_OR_RETURN(std::unique_ptr<PageSlots> slots, OpenHost(options, format));
    tiers->Add(KvTier::kHost, "the KV tier in the host's memory", std::move(slots));
  }
  if (!options.disk_path.empty()) {
    ASSIGN_OR_RETURN(std::unique_ptr<PageSlots> slots, OpenDisk(options, format));
    tiers->Add(KvTier::kDisk, absl::StrCat("the KV tier in ", options.disk_path), std::move(slots));
  }
  const int64_t num_staged = std::clamp(kStagingBytes / format.page_bytes, kFewestStaged, kMostStaged);
  ASSIGN_OR_RETURN(tiers->for_engine_.staging, backend.runner->AllocateHostPages(static_cast<int>(num_staged)));
  return tiers;
}

void KvTiers::Add(KvTier tier, std::string name, std::unique_ptr<PageSlots> slots) {
  std::unique_ptr<Tier>& added = tiers_[static_cast<int>(tier)];
  added = std::make_unique<Tier>();
  added->store = std::make_unique<PageStore>(std::move(name), std::move(slots), added->thread,
                                             [](const std::string& warning) { spdlog::warn("{}", warning); });
  const TierStats stats = added->store->stats();
  spdlog::info("{} KV pages outside the pool, {} of them in use", stats.capacity, stats.pages);
  for_engine_.stores[static_cast<int>(tier)] = added->store.get();
}

}  // namespace quire
