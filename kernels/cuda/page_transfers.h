// PageTransfers: pages of a KV cache to and from pinned memory of the host, on a stream of its own.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/cuda/kv_cache.h"
#include "kernels/cuda/stream.h"

struct CUevent_st;

namespace quire {

// What Ops says of them holds. On the thread of the Ops.
class PageTransfers {
 public:
  // Transfers begin behind what is on stream `steps` by then.
  static absl::StatusOr<std::unique_ptr<PageTransfers>> Create(CudaStream steps);
  ~PageTransfers();  // Waits for them.
  PageTransfers(const PageTransfers&) = delete;
  PageTransfers& operator=(const PageTransfers&) = delete;

  absl::StatusOr<uint64_t> StartToHost(const CudaKvCache& cache, std::span<const PageTransfer> pages, HostPages& host);
  absl::StatusOr<uint64_t> StartFromHost(CudaKvCache& cache, std::span<const PageTransfer> pages,
                                         const HostPages& host);
  absl::StatusOr<uint64_t> Done(uint64_t wait_for);

 private:
  explicit PageTransfers(CudaStream steps) : steps_(steps) {}

  absl::StatusOr<uint64_t> Start(absl::FunctionRef<void()> copy);
  absl::StatusOr<CUevent_st*> TakeEvent();

  const CudaStream steps_;
  CudaStream stream_ = nullptr;
  uint64_t num_done_ = 0;
  std::deque<CUevent_st*> under_way_;  // What ends transfers num_done_ + 1, + 2, ...
  std::vector<CUevent_st*> spare_;     // Events.
};

}  // namespace quire
