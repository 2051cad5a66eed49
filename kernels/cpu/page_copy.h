// Copies of KV pages: copy-on-write of a partly shared page.
#pragma once

#include <span>

#include "kernels/cpu/kv_cache.h"
#include "kernels/cpu/worker_pool.h"

namespace quire {

// Ops::CopyPages, in the given order.
void CopyKvPages(CpuKvCache& cache, std::span<const PageCopy> copies, WorkerPool& pool);

}  // namespace quire
