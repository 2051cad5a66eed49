#include "kernels/cuda/kv_cache.h"

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/cuda/attention_plan.h"

namespace quire {
namespace {

absl::Status Validate(const KvLayout& layout) {
  if (!HasCudaKvKernels(layout.key_dtype) || !HasCudaKvKernels(layout.value_dtype)) {
    return absl::InvalidArgumentError("on a GPU, K and V are each bf16, int8 or fp8");
  }
  if (layout.num_layers < 1 || layout.num_kv_heads < 1 || layout.num_pages < 1) {
    return absl::InvalidArgumentError("a KV cache needs at least one layer, one KV head and one page");
  }
  if (layout.page_size < 16 || layout.page_size % 16 != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("KV page size must be a multiple of 16 tokens, not ", layout.page_size));
  }
  if (layout.head_dim < 16 || layout.head_dim > kMaxCudaHeadDim || layout.head_dim % 16 != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("head_dim must be a multiple of 16 up to ", kMaxCudaHeadDim, ", not ", layout.head_dim));
  }
  if (layout.num_heads > int64_t{kCudaWarpRows} * layout.num_kv_heads) {
    return absl::InvalidArgumentError(absl::StrCat("on a GPU, at most ", kCudaWarpRows,
                                                   " query heads may share a KV head, not ",
                                                   layout.num_heads / layout.num_kv_heads));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<CudaKvCache>> CudaKvCache::Create(const KvLayout& layout) {
  if (absl::Status status = Validate(layout); !status.ok()) return status;
  // In floating point first: a product of five file- or user-given numbers may not fit an integer.
  const double bytes_per_head =
      static_cast<double>(layout.BytesPerHead(layout.key_dtype) + layout.BytesPerHead(layout.value_dtype));
  const double wanted = bytes_per_head * layout.num_layers * layout.num_kv_heads * layout.page_size * layout.num_pages;
  const std::string what = absl::StrCat("a KV cache of ", layout.num_pages, " pages (", wanted / (1 << 20), " MiB)");
  if (wanted > 1e15) return absl::ResourceExhaustedError(absl::StrCat(what, " is beyond any device's memory"));
  absl::StatusOr<DeviceMemory> memory = DeviceMemory::Allocate(layout.BytesPerPage() * layout.num_pages, what);
  if (!memory.ok()) return memory.status();
  return std::unique_ptr<CudaKvCache>(new CudaKvCache(layout, *std::move(memory)));
}

}  // namespace quire
