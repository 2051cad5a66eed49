// What tests of the paged CUDA kernels share: a cache, and calls of the kernels with host memory, as the shim allows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/cuda/attention_plan.h"
#include "kernels/cuda/kv_layout.h"
#include "tests/kernels/cpu/paged_batch.h"
#include "tests/kernels/kv_types.h"

namespace quire {

inline constexpr KvTypes kCudaKv[] = {kBFloat16Kv,
                                      kInt8Kv,
                                      kFp8Kv,
                                      {KvDType::kBF16, KvDType::kInt8},
                                      {KvDType::kBF16, KvDType::kFp8},
                                      {KvDType::kInt8, KvDType::kBF16},
                                      {KvDType::kInt8, KvDType::kFp8},
                                      {KvDType::kFp8, KvDType::kBF16},
                                      {KvDType::kFp8, KvDType::kInt8}};

struct Heads {
  int kv_heads = 1;
  int group = 1;
  int head_dim = 64;
  int num_heads() const { return kv_heads * group; }
  int qkv_cols() const { return (num_heads() + 2 * kv_heads) * head_dim; }
};

// A cache in which every element and scale that nobody writes is NaN.
class PoisonedCudaCache {
 public:
  explicit PoisonedCudaCache(const KvLayout& layout);

  const KvLayout& layout() const { return layout_; }
  std::byte* memory() { return memory_.get(); }
  int64_t bytes() const { return layout_.BytesPerPage() * layout_.num_pages; }
  CudaKvLayer Layer(int layer) { return CudaKvLayerAt(layout_, memory_.get(), layer); }

 private:
  struct Free {
    void operator()(std::byte* memory) const;
  };
  KvLayout layout_;
  std::unique_ptr<std::byte, Free> memory_;
};

// The head of a token in slot `slot` as floats.
std::vector<float> StoredHead(const KvLayout& layout, const CudaKvPlane& plane, int64_t slot, int kv_head);

// Rotates nothing: writes K and V of `qkv` into a layer.
void AppendToCuda(Matrix& qkv, const Heads& heads, const PagedBatchView& batch, CudaKvLayer layer);

struct CudaAttentionCall {
  Heads heads;
  float scale = 0;  // 0: 1 / sqrt(head_dim)
  int sliding_window = 0;
  int num_workers = 8;
  bool share_pages = true;
  int spare_room = 0;     // Of everything that the plan has.
  bool portable = false;  // CudaAttentionArgs::portable
};

// Attention of `queries`, whose first columns are Q.
Matrix AttendOnCuda(Matrix& queries, const PagedBatchView& batch, CudaKvLayer layer, const CudaAttentionCall& call);

}  // namespace quire
