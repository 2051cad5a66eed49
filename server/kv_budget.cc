#include "server/kv_budget.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"

namespace quire {
namespace {

constexpr int64_t kHostCeiling = int64_t{1} << 30;
// The rest is for activations and for what the driver takes later.
constexpr int64_t kDevicePercent = 85;

int64_t PagesFor(int64_t tokens, int page_size) { return (tokens + page_size - 1) / page_size; }

std::string Mebibytes(int64_t bytes) { return absl::StrCat((bytes + (1 << 20) - 1) >> 20, "MiB"); }

}  // namespace

int64_t DefaultPoolBytes(std::optional<int64_t> free_device_memory, int64_t free_host_memory) {
  if (free_device_memory) return *free_device_memory / 100 * kDevicePercent;
  return std::min(free_host_memory / 4, kHostCeiling);
}

absl::StatusOr<KvBudget> PlanKvBudget(const BackendOptions& options, const KvLayout& layout, int context_length,
                                      int64_t default_bytes, const KvWindow& window) {
  const bool endless = options.kv_policy.sink_window;
  if (!endless && options.max_model_len > context_length) {
    return absl::InvalidArgumentError(absl::StrCat("--max-model-len must be at most ", context_length,
                                                   ", the model's own length, got ", options.max_model_len));
  }
  const int64_t page_bytes = layout.BytesPerPage();
  const int64_t default_len = endless ? kEndlessModelLen : context_length;
  const int64_t wanted_len = options.max_model_len > 0 ? options.max_model_len : default_len;
  const int64_t kept_len = window.bounded() ? std::min<int64_t>(wanted_len, window.capacity()) : wanted_len;
  const int64_t usable_pages = options.max_num_seqs * PagesFor(kept_len, layout.page_size);
  int64_t pages = options.kv_cache_bytes / page_bytes;
  if (options.kv_cache_bytes == 0) pages = std::min(usable_pages, default_bytes / page_bytes);
  // Slots are numbered by 32 bits.
  pages = std::min<int64_t>(pages, std::numeric_limits<int32_t>::max() / layout.page_size);
  const bool whole_sequence = options.max_model_len > 0 || window.bounded();
  const int64_t needed_pages = whole_sequence ? PagesFor(kept_len, layout.page_size) : 1;
  if (pages < needed_pages) {
    return absl::InvalidArgumentError(
        absl::StrCat("--kv-cache-memory must be at least ", Mebibytes(needed_pages * page_bytes), " to hold ",
                     window.bounded()  ? "the window of one sequence"
                     : whole_sequence ? "one sequence of --max-model-len"
                                      : "one page",
                     "; there is room for ",
                     Mebibytes(std::max<int64_t>(pages, 0) * page_bytes)));
  }
  return KvBudget{.num_pages = static_cast<int>(pages),
                  .max_model_len = static_cast<int>(
                      window.bounded() ? wanted_len : std::min(wanted_len, pages * layout.page_size))};
}

}  // namespace quire
