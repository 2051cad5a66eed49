// Copies of KV pages: copy-on-write of a partly shared page.
#pragma once

#include <span>

#include "kernels/cpu/kv_cache.h"
#include "kernels/cpu/worker_pool.h"

namespace quire {

// Ops::CopyPages. Copies are independent: no page is both a source and a destination, or a destination twice.
void CopyKvPages(CpuKvCache& cache, std::span<const PageCopy> copies, WorkerPool& pool);

}  // namespace quire
