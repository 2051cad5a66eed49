// The reference's KV cache: one float vector of head_dim elements for K and one for V, by (layer, slot, KV head).
#pragma once

#include <span>
#include <vector>

#include "kernels/paged_kv.h"

namespace quire {

class ReferenceKvCache : public KvCache {
 public:
  explicit ReferenceKvCache(const KvLayout& layout);

  const KvLayout& layout() const override { return layout_; }

  std::span<const float> Key(int layer, int64_t slot, int kv_head) const { return At(keys_, layer, slot, kv_head); }
  std::span<const float> Value(int layer, int64_t slot, int kv_head) const { return At(values_, layer, slot, kv_head); }
  // Rounds both to the cache's dtypes and keeps them. Tokens of a page come in order.
  void Write(int layer, int64_t slot, int kv_head, std::span<const float> key, std::span<const float> value);
  void CopyPage(const PageCopy& copy);

 private:
  void WriteInt4Key(int layer, int64_t slot, int kv_head, std::span<const float> key);
  int64_t Index(int layer, int64_t slot, int kv_head) const;
  std::span<const float> At(const std::vector<float>& data, int layer, int64_t slot, int kv_head) const;

  KvLayout layout_;
  std::vector<float> keys_;
  std::vector<float> key_differences_;  // In int4: rotated, from what was predicted.
  std::vector<float> values_;
};

}  // namespace quire
