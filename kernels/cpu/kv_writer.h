// Writes K and V of tokens into the blocks of the KV cache, rounded to its types.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/cpu/kv_cache.h"

namespace quire {

// For one layer, on one thread.
class KvWriter {
 public:
  KvWriter(const CpuKvCache& cache, int layer);

  // Where keys are in int4 a token's key depends on those of the tokens before it in its block of 16, which must have
  // been written. `key` and `value` have head_dim elements.
  void Write(int32_t slot, int kv_head, std::span<const float> key, std::span<const float> value);

 private:
  // What a KV head's next key is expected to be.
  struct Prediction {
    int32_t slot = -1;  // Of that key.
    std::array<float, kMaxHeadDim> key;
  };

  void WriteInt4Key(int32_t slot, int kv_head, std::span<const float> rotated, std::byte* keys);

  const CpuKvCache& cache_;
  const int layer_;
  std::vector<Prediction> predictions_;  // By KV head; none unless keys are in int4.
};

}  // namespace quire
