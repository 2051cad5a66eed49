// How many KV pages a server has, and how long a sequence they allow.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "kernels/paged_kv.h"
#include "server/backend.h"

namespace quire {

struct KvBudget {
  int num_pages = 0;
  int max_model_len = 0;

  bool operator==(const KvBudget&) const = default;
};

// `layout` describes a page (its num_pages is not looked at), `context_length` the model. INVALID_ARGUMENT names the
// flag and what it would have to be.
absl::StatusOr<KvBudget> PlanKvBudget(const BackendOptions& options, const KvLayout& layout, int context_length,
                                      int64_t available_memory);

}  // namespace quire
