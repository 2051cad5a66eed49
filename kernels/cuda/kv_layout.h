// How the KV cache lies in device memory. A layer has a plane of K, then one of V; a plane is
//
//   elements  [page][kv_head][page_size][head_dim] in the plane's dtype: bfloat16, int8 or fp8 (e4m3)
//   scales    [page][kv_head][page_size] floats, except in bfloat16: what the codes of a token and head are multiples
//   of
//
// Keys in int8 are rotated first (kernels/cuda/rotation.cuh). A head of which an element is not finite is kept as NaN:
// in bfloat16 all of its elements, otherwise its scale, with codes of 0. So a reader sees from one number whether a
// token's head is sound.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/paged_kv.h"

namespace quire {

inline constexpr int kMaxCudaHeadDim = 256;

// One layer's K or V as kernels see it.
struct CudaKvPlane {
  std::byte* elements = nullptr;
  float* scales = nullptr;  // nullptr in bfloat16.
  KvDType dtype = KvDType::kBF16;
};

struct CudaKvLayer {
  CudaKvPlane keys;
  CudaKvPlane values;
  int num_kv_heads = 0;
  int head_dim = 0;
  int page_size = 0;
  int num_pages = 0;
};

// Whether the device's kernels can read this kind of K or V.
bool HasCudaKvKernels(KvDType dtype);

// Where a layer lies in a cache whose memory, layout.BytesPerPage() * layout.num_pages bytes aligned to 256, begins at
// `memory`.
CudaKvLayer CudaKvLayerAt(const KvLayout& layout, std::byte* memory, int layer);

}  // namespace quire
