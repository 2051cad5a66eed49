// Copies of KV pages: copy-on-write of a partly shared page, and whole pages kept beside the cache.
#pragma once

#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "kernels/cpu/kv_cache.h"
#include "kernels/cpu/worker_pool.h"

namespace quire {

// Ops::CopyPages, in the given order.
void CopyKvPages(CpuKvCache& cache, std::span<const PageCopy> copies, WorkerPool& pool);

// A page outside the cache is its part of each layer, in order. Done when they return.
void CopyKvPagesToHost(const CpuKvCache& cache, std::span<const PageTransfer> transfers, HostPages& host,
                       WorkerPool& pool);
void CopyKvPagesFromHost(CpuKvCache& cache, std::span<const PageTransfer> transfers, const HostPages& host,
                         WorkerPool& pool);

}  // namespace quire
