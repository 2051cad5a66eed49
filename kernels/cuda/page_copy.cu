#include <cuda_runtime.h>

#include <algorithm>
#include <vector>

#include "kernels/check.h"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/page_copy.h"

namespace quire {
namespace {

constexpr int kCopyThreads = 128;
constexpr int kMaxCopies = 128;  // In one launch: they are a parameter of the kernel.

struct PageCopies {
  PageCopy copies[kMaxCopies];
};

// A part of a page that lies in one piece for each KV head: elements or scales. Page p's begins at base + p *
// page_bytes, that of its head h at h * head_bytes, and a token's has token_bytes, a multiple of 4.
struct PageParts {
  std::byte* base;
  int64_t layer_bytes;  // From one layer's to the next.
  int64_t page_bytes;
  int head_bytes;
  int token_bytes;
};

// Block (c, h, l) copies KV head h of layer l for copy c.
__global__ void CopyPartsKernel(PageParts parts, PageCopies copies) {
  const PageCopy copy = copies.copies[blockIdx.x];
  std::byte* head = parts.base + blockIdx.z * parts.layer_bytes + static_cast<int64_t>(blockIdx.y) * parts.head_bytes;
  const auto* from = reinterpret_cast<const uint32_t*>(head + copy.source * parts.page_bytes);
  auto* to = reinterpret_cast<uint32_t*>(head + copy.destination * parts.page_bytes);
  const int num_words = copy.num_tokens * parts.token_bytes / 4;
  for (int i = threadIdx.x; i < num_words; i += kCopyThreads) to[i] = from[i];
}

PageParts PartsOf(const KvLayout& layout, std::byte* base, int token_bytes) {
  const int head_bytes = token_bytes * layout.page_size;
  return {base, layout.BytesPerPage() / layout.num_layers * layout.num_pages, int64_t{head_bytes} * layout.num_kv_heads,
          head_bytes, token_bytes};
}

// Elements and scales of K and of V, in the order in which they lie in a layer.
std::vector<PageParts> AllParts(const KvLayout& layout, std::byte* memory) {
  const CudaKvLayer first = CudaKvLayerAt(layout, memory, 0);
  std::vector<PageParts> all;
  for (const CudaKvPlane& plane : {first.keys, first.values}) {
    const int element_bytes = plane.dtype == KvDType::kBF16 ? 2 : 1;
    all.push_back(PartsOf(layout, plane.elements, element_bytes * layout.head_dim));
    if (plane.scales != nullptr) {
      all.push_back(PartsOf(layout, reinterpret_cast<std::byte*>(plane.scales), sizeof(float)));
    }
  }
  return all;
}

// How many copies from `begin` on do not read or write a page that one of them writes, nor write one that one reads.
int NumIndependent(std::span<const PageCopy> copies) {
  int count = 0;
  for (const PageCopy& copy : copies.first(std::min<size_t>(copies.size(), kMaxCopies))) {
    const bool independent = std::ranges::none_of(copies.first(count), [&](const PageCopy& earlier) {
      return earlier.destination == copy.source || earlier.destination == copy.destination ||
             earlier.source == copy.destination;
    });
    if (!independent) break;
    ++count;
  }
  return count;
}

// Calls fn(device memory, offset in the host's copies, bytes) for each piece of the pages.
template <typename Function>
void ForPieces(const KvLayout& layout, std::byte* memory, std::span<const int32_t> pages, Function fn) {
  const std::vector<PageParts> all = AllParts(layout, memory);
  int64_t offset = 0;
  for (const int32_t page : pages) {
    QUIRE_CHECK(page >= 0 && page < layout.num_pages);
    for (int layer = 0; layer < layout.num_layers; ++layer) {
      for (const PageParts& parts : all) {
        fn(parts.base + layer * parts.layer_bytes + page * parts.page_bytes, offset, parts.page_bytes);
        offset += parts.page_bytes;
      }
    }
  }
}

}  // namespace

void CopyCudaKvPages(const KvLayout& layout, std::byte* memory, std::span<const PageCopy> copies, CudaStream stream) {
  for (const PageCopy& copy : copies) {
    QUIRE_CHECK(copy.source >= 0 && copy.source < layout.num_pages);
    QUIRE_CHECK(copy.destination >= 0 && copy.destination < layout.num_pages);
    QUIRE_CHECK(copy.num_tokens > 0 && copy.num_tokens <= layout.page_size);
  }
  const std::vector<PageParts> all = AllParts(layout, memory);
  while (!copies.empty()) {
    const int count = std::max(1, NumIndependent(copies));
    PageCopies batch = {};
    std::copy_n(copies.begin(), count, batch.copies);
    const dim3 grid(count, layout.num_kv_heads, layout.num_layers);
    for (const PageParts& parts : all) {
      Launch(CopyPartsKernel, {.grid = grid, .block = kCopyThreads, .stream = stream}, parts, batch);
    }
    copies = copies.subspan(count);
  }
}

void CopyCudaKvPagesToHost(const KvLayout& layout, const std::byte* memory, std::span<const int32_t> pages,
                           std::byte* host, CudaStream stream) {
  ForPieces(layout, const_cast<std::byte*>(memory), pages, [&](const std::byte* piece, int64_t offset, int64_t bytes) {
    cudaMemcpyAsync(host + offset, piece, bytes, cudaMemcpyDeviceToHost, stream);
  });
}

void CopyCudaKvPagesFromHost(const KvLayout& layout, std::byte* memory, std::span<const int32_t> pages,
                             const std::byte* host, CudaStream stream) {
  ForPieces(layout, memory, pages, [&](std::byte* piece, int64_t offset, int64_t bytes) {
    cudaMemcpyAsync(piece, host + offset, bytes, cudaMemcpyHostToDevice, stream);
  });
}

}  // namespace quire
