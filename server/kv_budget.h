// How many KV pages a server has, and how long a sequence they allow.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"
#include "kernels/paged_kv.h"
#include "server/backend.h"

namespace quire {

struct KvBudget {
  int num_pages = 0;
  int max_model_len = 0;

  bool operator==(const KvBudget&) const = default;
};

// What pages may take unasked. Of a device, which has nothing else to do, most of what is free; of the host's memory a
// quarter of what is free, at most 1 GiB.
int64_t DefaultPoolBytes(std::optional<int64_t> free_device_memory, int64_t free_host_memory);

// `layout` describes a page (its num_pages is not looked at), `context_length` the model, `window` what sequences keep of their tokens,
// `default_bytes` the most that
// is taken where the options say nothing. INVALID_ARGUMENT names the flag and what it would have to be.
absl::StatusOr<KvBudget> PlanKvBudget(const BackendOptions& options, const KvLayout& layout, int context_length,
                                      int64_t default_bytes, const KvWindow& window = {});

}  // namespace quire
