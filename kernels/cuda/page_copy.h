// Copies of KV pages on the device and between it and the host. Errors of launches and copies are kept for
// cudaGetLastError.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/cuda/kv_layout.h"
#include "kernels/cuda/stream.h"

namespace quire {

// Enqueues the copies, which take effect in the given order.
void CopyCudaKvPages(const KvLayout& layout, std::byte* memory, std::span<const PageCopy> copies, CudaStream stream);

// Enqueues copies of whole pages to or from host memory, page i of `pages` at host + i * layout.BytesPerPage(). A page
// in host memory is its part of each plane in order: for each layer the elements and the scales of K, then those of V.
// The host memory should be pinned, else the calls wait.
void CopyCudaKvPagesToHost(const KvLayout& layout, const std::byte* memory, std::span<const int32_t> pages,
                           std::byte* host, CudaStream stream);
void CopyCudaKvPagesFromHost(const KvLayout& layout, std::byte* memory, std::span<const int32_t> pages,
                             const std::byte* host, CudaStream stream);

}  // namespace quire
