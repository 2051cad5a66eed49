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

// Where things lie in a block of K or of V, in bytes from its beginning. Either is made of units of four bytes, which
// hold neighbouring dimensions of a token (K) or neighbouring tokens of a dimension (V).
struct KvBlockLayout {
  int head_dim = 0;
  int element_bytes = 0;
  bool has_scales = false;

  int bytes() const { return codes_bytes() + (has_scales ? kKvBlockTokens * 4 : 0); }
  int codes_bytes() const { return kKvBlockTokens * head_dim * element_bytes; }
  int elements_per_unit() const { return 4 / element_bytes; }
  int KeyOffset(int token, int dim) const {
    return (dim / elements_per_unit() * kKvBlockTokens + token) * 4 + dim % elements_per_unit() * element_bytes;
  }
  int ValueOffset(int token, int dim) const {
    return (token / elements_per_unit() * head_dim + dim) * 4 + token % elements_per_unit() * element_bytes;
  }
  int ScaleOffset(int token) const { return codes_bytes() + token * 4; }
};

class CpuKvCache : public KvCache {
 public:
  // INVALID_ARGUMENT for a layout this backend has no kernels for, RESOURCE_EXHAUSTED when the memory cannot be had.
  static absl::StatusOr<std::unique_ptr<CpuKvCache>> Create(const KvLayout& layout);
  ~CpuKvCache() override;
  CpuKvCache(const CpuKvCache&) = delete;
  CpuKvCache& operator=(const CpuKvCache&) = delete;

  const KvLayout& layout() const override { return layout_; }
  const KvBlockLayout& key_block() const { return key_block_; }
  const KvBlockLayout& value_block() const { return value_block_; }

  // The block that holds token `offset` of a page.
  std::byte* KeyBlock(int layer, int page, int kv_head, int offset) const {
    return Head(layer, page, kv_head) + int64_t{offset / kKvBlockTokens} * key_block_.bytes();
  }
  std::byte* ValueBlock(int layer, int page, int kv_head, int offset) const {
    return Head(layer, page, kv_head) + int64_t{BlocksPerPage()} * key_block_.bytes() +
           int64_t{offset / kKvBlockTokens} * value_block_.bytes();
  }
  int BlocksPerPage() const { return layout_.page_size / kKvBlockTokens; }

  // All of it.
  std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  CpuKvCache(const KvLayout& layout, std::byte* data, size_t bytes);

  // K, then V, of one head in one page.
  std::byte* Head(int layer, int page, int kv_head) const {
    const int64_t bytes = int64_t{BlocksPerPage()} * (key_block_.bytes() + value_block_.bytes());
    return data_ + ((int64_t{layer} * layout_.num_pages + page) * layout_.num_kv_heads + kv_head) * bytes;
  }

  const KvLayout layout_;
  const KvBlockLayout key_block_;
  const KvBlockLayout value_block_;
  std::byte* const data_;
  const size_t bytes_;
};

}  // namespace quire
