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
// hold neighbouring dimensions of a token (K) or neighbouring tokens of a dimension, of two dimensions in int4 (V).
struct KvBlockLayout {
  int head_dim = 0;
  KvDType dtype = KvDType::kBF16;  // Not kF32.

  bool has_scales() const { return dtype != KvDType::kBF16; }
  bool has_middles() const { return dtype == KvDType::kInt4; }
  int element_bits() const { return dtype == KvDType::kBF16 ? 16 : dtype == KvDType::kInt8 ? 8 : 4; }
  int scale_bytes() const { return dtype == KvDType::kInt8 ? 4 : 2; }
  int bytes() const { return codes_bytes() + (has_scales() ? kKvBlockTokens * 4 : 0); }
  int codes_bytes() const { return kKvBlockTokens * head_dim * element_bits() / 8; }
  int dims_per_unit() const { return 32 / element_bits(); }                // Of a token, in a block of K.
  int tokens_per_unit() const { return dtype == KvDType::kBF16 ? 2 : 4; }  // In a block of V.

  // The byte in which the element lies or begins. In int4 it is the high half of it where Is...High.
  int KeyOffset(int token, int dim) const {
    const int place = has_middles() ? dim % 4 : dim % dims_per_unit() * element_bits() / 8;
    return (dim / dims_per_unit() * kKvBlockTokens + token) * 4 + place;
  }
  int ValueOffset(int token, int dim) const {
    const int row = token / tokens_per_unit(), place = token % tokens_per_unit();
    if (!has_middles()) return (row * head_dim + dim) * 4 + place * element_bits() / 8;
    return (row * head_dim / 2 + dim / kInt4KvDims * 16 + dim % 16) * 4 + place;
  }
  bool IsKeyHigh(int dim) const { return has_middles() && dim % 8 >= 4; }
  bool IsValueHigh(int dim) const { return has_middles() && dim % kInt4KvDims >= 16; }
  int ScaleOffset(int token) const { return codes_bytes() + token * scale_bytes(); }
  int MiddleOffset(int token) const { return codes_bytes() + (kKvBlockTokens + token) * scale_bytes(); }
};

// Whether attention can read K and V of these types.
bool HasCpuKvKernels(KvDType key_dtype, KvDType value_dtype);

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
