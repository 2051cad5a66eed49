#include "kernels/cpu/page_copy.h"

#include <algorithm>

#include "kernels/check.h"

namespace quire {
namespace {

// Units of four bytes lie in the order [dimensions][token] in a block of K.
void CopyKeys(const KvBlockLayout& block, int num_tokens, const std::byte* from, std::byte* to) {
  for (int dim = 0; dim < block.head_dim; dim += block.dims_per_unit()) {
    const int offset = block.KeyOffset(0, dim);
    std::copy_n(from + offset, num_tokens * 4, to + offset);
  }
}

// And in the order [tokens][dimension] in one of V, where the last unit may hold tokens that are not copied.
void CopyValues(const KvBlockLayout& block, int num_tokens, const std::byte* from, std::byte* to) {
  const int in_last_unit = num_tokens % block.tokens_per_unit();
  const int end = block.ValueOffset(num_tokens - in_last_unit, 0);
  std::copy_n(from, end, to);
  if (in_last_unit == 0) return;
  const int bytes = in_last_unit * (4 / block.tokens_per_unit());
  const int next_unit = block.ValueOffset(num_tokens - in_last_unit + block.tokens_per_unit(), 0);
  for (int offset = end; offset < next_unit; offset += 4) std::copy_n(from + offset, bytes, to + offset);
}

void CopyScales(const KvBlockLayout& block, int num_tokens, const std::byte* from, std::byte* to) {
  const auto copy = [&](int offset) { std::copy_n(from + offset, num_tokens * block.scale_bytes(), to + offset); };
  if (block.has_scales()) copy(block.ScaleOffset(0));
  if (block.has_middles()) copy(block.MiddleOffset(0));
}

void CopyHead(CpuKvCache& cache, int layer, int kv_head, const PageCopy& copy) {
  for (int begin = 0; begin < copy.num_tokens; begin += kKvBlockTokens) {
    const int num_tokens = std::min(copy.num_tokens - begin, kKvBlockTokens);
    const std::byte* keys = cache.KeyBlock(layer, copy.source, kv_head, begin);
    std::byte* keys_copy = cache.KeyBlock(layer, copy.destination, kv_head, begin);
    CopyKeys(cache.key_block(), num_tokens, keys, keys_copy);
    CopyScales(cache.key_block(), num_tokens, keys, keys_copy);
    const std::byte* values = cache.ValueBlock(layer, copy.source, kv_head, begin);
    std::byte* values_copy = cache.ValueBlock(layer, copy.destination, kv_head, begin);
    CopyValues(cache.value_block(), num_tokens, values, values_copy);
    CopyScales(cache.value_block(), num_tokens, values, values_copy);
  }
}

// Calls copy(its part of a page in the cache, the same of the page in `host`, bytes) for every layer and transfer.
template <typename Copy>
void ForEachPart(const CpuKvCache& cache, std::span<const PageTransfer> transfers, const HostPages& host,
                 WorkerPool& pool, const Copy& copy) {
  if (transfers.empty()) return;
  const KvLayout& layout = cache.layout();
  const int64_t bytes = layout.BytesPerPage() / layout.num_layers;
  for (const PageTransfer& transfer : transfers) {
    QUIRE_CHECK(transfer.page >= 0 && transfer.page < layout.num_pages);
    QUIRE_CHECK(static_cast<int64_t>(host.page(transfer.host_page).size()) == layout.BytesPerPage());
  }
  pool.Run([&](int worker) {
    for (int layer = worker; layer < layout.num_layers; layer += pool.size()) {
      for (const PageTransfer& transfer : transfers) {
        copy(cache.KeyBlock(layer, transfer.page, 0, 0), host.page(transfer.host_page).data() + layer * bytes, bytes);
      }
    }
  });
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

void CopyKvPagesToHost(const CpuKvCache& cache, std::span<const PageTransfer> transfers, HostPages& host,
                       WorkerPool& pool) {
  ForEachPart(cache, transfers, host, pool, [](const std::byte* in_cache, std::byte* on_host, int64_t bytes) {
    std::copy_n(in_cache, bytes, on_host);
  });
}

void CopyKvPagesFromHost(CpuKvCache& cache, std::span<const PageTransfer> transfers, const HostPages& host,
                         WorkerPool& pool) {
  ForEachPart(cache, transfers, host, pool, [](std::byte* in_cache, const std::byte* on_host, int64_t bytes) {
    std::copy_n(on_host, bytes, in_cache);
  });
}

}  // namespace quire
