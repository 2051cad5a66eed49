// The CPU's KV cache: one allocation [layer][page][kv_head]{K, V}, where a page's K and V of one head are page_size /
// 16 blocks as kernels/cpu/kv_block.h lays them out. All page sizes are made of the same blocks. Memory is anonymous: a
// page that was never written costs nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "kernels/cpu/kv_block.h"
#include "kernels/paged_kv.h"

namespace quire {

class CpuKvCache : public KvCache {
 public:
  // INVALID_ARGUMENT for a layout this backend has no kernels for, RESOURCE_EXHAUSTED when the memory cannot be had.
  static absl::StatusOr<std::unique_ptr<CpuKvCache>> Create(const KvLayout& layout);
  ~CpuKvCache() override;
  CpuKvCache(const CpuKvCache&) = delete;
  CpuKvCache& operator=(const CpuKvCache&) = delete;

  const KvLayout& layout() const override { return layout_; }

  uint16_t* Keys(int layer, int page, int kv_head) const {
    return data_ + ((int64_t{layer} * layout_.num_pages + page) * layout_.num_kv_heads + kv_head) * 2 * HeadElements();
  }
  uint16_t* Values(int layer, int page, int kv_head) const { return Keys(layer, page, kv_head) + HeadElements(); }

  // Where element `dim` of token `offset` of a page lies, from Keys() and Values().
  int64_t KeyIndex(int offset, int dim) const {
    const int64_t block = offset / kKvBlockTokens;
    return ((block * (layout_.head_dim / 2) + dim / 2) * kKvBlockTokens + offset % kKvBlockTokens) * 2 + dim % 2;
  }
  int64_t ValueIndex(int offset, int dim) const {
    return (int64_t{offset / 2} * layout_.head_dim + dim) * 2 + offset % 2;
  }

 private:
  CpuKvCache(const KvLayout& layout, uint16_t* data, size_t bytes) : layout_(layout), data_(data), bytes_(bytes) {}

  // Of K, or of V, of one head in one page.
  int64_t HeadElements() const { return int64_t{layout_.page_size} * layout_.head_dim; }

  const KvLayout layout_;
  uint16_t* const data_;
  const size_t bytes_;
};

}  // namespace quire
