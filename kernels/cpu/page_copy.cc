#include "kernels/cpu/page_copy.h"

#include <algorithm>

#include "kernels/check.h"

namespace quire {
namespace {

void CopyHead(CpuKvCache& cache, int layer, int kv_head, const PageCopy& copy) {
  const int head_dim = cache.layout().head_dim;
  const int whole_blocks = copy.num_tokens / kKvBlockTokens * kKvBlockTokens;
  const uint16_t* keys = cache.Keys(layer, copy.source, kv_head);
  uint16_t* keys_copy = cache.Keys(layer, copy.destination, kv_head);
  std::copy_n(keys, cache.KeyIndex(whole_blocks, 0), keys_copy);
  if (whole_blocks < copy.num_tokens) {
    for (int dim = 0; dim < head_dim; dim += 2) {
      const int64_t index = cache.KeyIndex(whole_blocks, dim);
      std::copy_n(keys + index, (copy.num_tokens - whole_blocks) * 2, keys_copy + index);
    }
  }

  const int last = copy.num_tokens - 1;
  const uint16_t* values = cache.Values(layer, copy.source, kv_head);
  uint16_t* values_copy = cache.Values(layer, copy.destination, kv_head);
  std::copy_n(values, cache.ValueIndex(copy.num_tokens / 2 * 2, 0), values_copy);
  if (last % 2 == 0) {
    for (int dim = 0; dim < head_dim; ++dim) {
      values_copy[cache.ValueIndex(last, dim)] = values[cache.ValueIndex(last, dim)];
    }
  }
}

}  // namespace

void CopyKvPages(CpuKvCache& cache, std::span<const PageCopy> copies, WorkerPool& pool) {
  if (copies.empty()) return;
  const KvLayout& layout = cache.layout();
  for (const PageCopy& copy : copies) {
    QUIRE_CHECK(copy.source >= 0 && copy.source < layout.num_pages);
    QUIRE_CHECK(copy.destination >= 0 && copy.destination < layout.num_pages);
    QUIRE_CHECK(copy.num_tokens > 0 && copy.num_tokens <= layout.page_size);
  }
  pool.Run([&](int worker) {
    for (int layer = worker; layer < layout.num_layers; layer += pool.size()) {
      for (const PageCopy& copy : copies) {
        for (int head = 0; head < layout.num_kv_heads; ++head) CopyHead(cache, layer, head, copy);
      }
    }
  });
}

}  // namespace quire
