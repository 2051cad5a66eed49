#include "kernels/cuda/kv_layout.h"

#include "kernels/check.h"

namespace quire {
namespace {

// Takes the next plane off the memory at `next`.
CudaKvPlane TakePlane(const KvLayout& layout, KvDType dtype, std::byte*& next) {
  const int64_t num_heads = int64_t{layout.num_pages} * layout.num_kv_heads * layout.page_size;
  CudaKvPlane plane{.elements = next, .dtype = dtype};
  if (dtype != KvDType::kBF16) {
    plane.scales = reinterpret_cast<float*>(next + num_heads * layout.head_dim);
  }
  next += num_heads * layout.BytesPerHead(dtype);
  return plane;
}

}  // namespace

bool HasCudaKvKernels(KvDType dtype) {
  return dtype == KvDType::kBF16 || dtype == KvDType::kInt8 || dtype == KvDType::kFp8;
}

// Planes need no padding: 16 tokens' heads are a multiple of 256 bytes, their scales one of 64.
CudaKvLayer CudaKvLayerAt(const KvLayout& layout, std::byte* memory, int layer) {
  QUIRE_CHECK(layer >= 0 && layer < layout.num_layers);
  std::byte* next = memory + layout.BytesPerPage() / layout.num_layers * layout.num_pages * layer;
  CudaKvLayer result;
  result.keys = TakePlane(layout, layout.key_dtype, next);
  result.values = TakePlane(layout, layout.value_dtype, next);
  result.num_kv_heads = layout.num_kv_heads;
  result.head_dim = layout.head_dim;
  result.page_size = layout.page_size;
  result.num_pages = layout.num_pages;
  return result;
}

}  // namespace quire
