#include "tests/reference/reference_kv_cache.h"

#include <algorithm>
#include <limits>

#include "kernels/bfloat16.h"
#include "kernels/check.h"

namespace quire {

ReferenceKvCache::ReferenceKvCache(const KvLayout& layout) : layout_(layout) {
  const int64_t elements =
      int64_t{layout.num_layers} * layout.num_pages * layout.page_size * layout.num_kv_heads * layout.head_dim;
  keys_.assign(elements, std::numeric_limits<float>::quiet_NaN());
  values_ = keys_;
}

int64_t ReferenceKvCache::Index(int layer, int64_t slot, int kv_head) const {
  const int64_t num_slots = int64_t{layout_.num_pages} * layout_.page_size;
  QUIRE_CHECK(layer >= 0 && layer < layout_.num_layers);
  QUIRE_CHECK(slot >= 0 && slot < num_slots);
  QUIRE_CHECK(kv_head >= 0 && kv_head < layout_.num_kv_heads);
  return ((layer * num_slots + slot) * layout_.num_kv_heads + kv_head) * layout_.head_dim;
}

std::span<const float> ReferenceKvCache::At(const std::vector<float>& data, int layer, int64_t slot,
                                            int kv_head) const {
  return std::span(data).subspan(Index(layer, slot, kv_head), layout_.head_dim);
}

void ReferenceKvCache::Write(int layer, int64_t slot, int kv_head, std::span<const float> key,
                             std::span<const float> value) {
  const auto round = [this](float x) { return layout_.dtype == DType::kBF16 ? FromBFloat16(ToBFloat16(x)) : x; };
  const int64_t index = Index(layer, slot, kv_head);
  std::transform(key.begin(), key.end(), keys_.begin() + index, round);
  std::transform(value.begin(), value.end(), values_.begin() + index, round);
}

void ReferenceKvCache::CopyPage(const PageCopy& copy) {
  for (int layer = 0; layer < layout_.num_layers; ++layer) {
    for (int token = 0; token < copy.num_tokens; ++token) {
      for (int head = 0; head < layout_.num_kv_heads; ++head) {
        const int64_t source = int64_t{copy.source} * layout_.page_size + token;
        const int64_t destination = int64_t{copy.destination} * layout_.page_size + token;
        Write(layer, destination, head, Key(layer, source, head), Value(layer, source, head));
      }
    }
  }
}

}  // namespace quire
