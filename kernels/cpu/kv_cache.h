// The CPU's KV cache: one allocation [layer][page][kv_head]{K, V} of bfloat16, where a page's K and V of one head are
//
//   K [page_size / 16 blocks][head_dim / 2][16 tokens][2]   two neighbouring dimensions side by side, 16 tokens across
//   V [page_size / 2][head_dim][2]                          two neighbouring tokens side by side
//
// so that 16 query . key products accumulate in the lanes of vectors without a horizontal sum, each load of 64 bytes is
// split into two vectors of floats by a shift and a mask, and K and V are the pairs that AVX-512 BF16 and AMX dot
// products take. All page sizes are made of the same 16-token blocks; kernels see only these. Memory is anonymous: a
// page that was never written costs nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "kernels/paged_kv.h"

namespace quire {

inline constexpr int kKvBlockTokens = 16;
inline constexpr int kMaxHeadDim = 256;

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
