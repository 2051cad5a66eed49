#include "kernels/cpu/kv_cache.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/check.h"

namespace quire {
namespace {

absl::Status Validate(const KvLayout& layout) {
  if (!HasCpuKvKernels(layout.key_dtype, layout.value_dtype)) {
    return absl::InvalidArgumentError("on the CPU, K and V are both bf16, or each is int8 or int4");
  }
  if (layout.num_layers < 1 || layout.num_kv_heads < 1 || layout.num_pages < 1) {
    return absl::InvalidArgumentError("a KV cache needs at least one layer, one KV head and one page");
  }
  if (layout.page_size < kKvBlockTokens || layout.page_size % kKvBlockTokens != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("KV page size must be a multiple of 16 tokens, not ", layout.page_size));
  }
  if (layout.head_dim < 16 || layout.head_dim > kMaxHeadDim || layout.head_dim % 16 != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("head_dim must be a multiple of 16 up to ", kMaxHeadDim, ", not ", layout.head_dim));
  }
  const bool int4 = layout.key_dtype == KvDType::kInt4 || layout.value_dtype == KvDType::kInt4;
  if (int4 && layout.head_dim % kInt4KvDims != 0) {
    return absl::InvalidArgumentError(absl::StrCat("for a KV cache in int4, head_dim must be a multiple of ",
                                                   kInt4KvDims, ", not ", layout.head_dim));
  }
  return absl::OkStatus();
}

}  // namespace

bool HasCpuKvKernels(KvDType key_dtype, KvDType value_dtype) {
  if (key_dtype == KvDType::kBF16) return value_dtype == KvDType::kBF16;
  const auto has_codes = [](KvDType dtype) { return dtype == KvDType::kInt8 || dtype == KvDType::kInt4; };
  return has_codes(key_dtype) && has_codes(value_dtype);
}

absl::StatusOr<std::unique_ptr<CpuKvCache>> CpuKvCache::Create(const KvLayout& layout) {
  if (absl::Status status = Validate(layout); !status.ok()) return status;
  // In floating point first: a product of five file- or user-given numbers may not fit an integer.
  const double bytes_per_head =
      static_cast<double>(layout.BytesPerHead(layout.key_dtype) + layout.BytesPerHead(layout.value_dtype));
  const double wanted = bytes_per_head * layout.num_layers * layout.num_kv_heads * layout.page_size * layout.num_pages;
  const std::string what = absl::StrCat("a KV cache of ", layout.num_pages, " pages (", wanted / (1 << 20), " MiB)");
  if (wanted > 1e15) return absl::ResourceExhaustedError(absl::StrCat(what, " is beyond any machine's memory"));
  const size_t bytes = layout.BytesPerPage() * layout.num_pages;
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) {
    return absl::ResourceExhaustedError(absl::StrCat("no memory for ", what, ": ", std::strerror(errno)));
  }
  // Attention walks pages in no order, so large pages spare most TLB misses; without them it is only slower.
  madvise(data, bytes, MADV_HUGEPAGE);
  return std::unique_ptr<CpuKvCache>(new CpuKvCache(layout, static_cast<std::byte*>(data), bytes));
}

CpuKvCache::CpuKvCache(const KvLayout& layout, std::byte* data, size_t bytes)
    : layout_(layout),
      key_block_{layout.head_dim, layout.key_dtype},
      value_block_{layout.head_dim, layout.value_dtype},
      data_(data),
      bytes_(bytes) {}

CpuKvCache::~CpuKvCache() { QUIRE_CHECK(munmap(data_, bytes_) == 0); }

}  // namespace quire
