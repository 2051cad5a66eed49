#include "kernels/cuda/page_transfers.h"

#include <cuda_runtime.h>

#include "kernels/check.h"
#include "kernels/cuda/cuda_status.h"
#include "kernels/cuda/page_copy.h"

namespace quire {
namespace {

constexpr char kWhat[] = "copy pages between the device and the host";

}  // namespace

absl::StatusOr<std::unique_ptr<PageTransfers>> PageTransfers::Create(CudaStream steps) {
  std::unique_ptr<PageTransfers> transfers(new PageTransfers(steps));
  const cudaError_t error = cudaStreamCreateWithFlags(&transfers->stream_, cudaStreamNonBlocking);
  if (error != cudaSuccess) return ToStatus(error, "make a stream for copies");
  return transfers;
}

PageTransfers::~PageTransfers() {
  if (stream_ == nullptr) return;
  cudaStreamSynchronize(stream_);
  for (CUevent_st* event : under_way_) cudaEventDestroy(event);
  for (CUevent_st* event : spare_) cudaEventDestroy(event);
  cudaStreamDestroy(stream_);
}

absl::StatusOr<uint64_t> PageTransfers::StartToHost(const CudaKvCache& cache, std::span<const PageTransfer> pages,
                                                    HostPages& host) {
  return Start([&] {
    for (const auto& [page, host_page] : pages) {
      CopyCudaKvPagesToHost(cache.layout(), cache.memory(), {&page, 1}, host.page(host_page).data(), stream_);
    }
  });
}

absl::StatusOr<uint64_t> PageTransfers::StartFromHost(CudaKvCache& cache, std::span<const PageTransfer> pages,
                                                      const HostPages& host) {
  return Start([&] {
    for (const auto& [page, host_page] : pages) {
      CopyCudaKvPagesFromHost(cache.layout(), cache.memory(), {&page, 1}, host.page(host_page).data(), stream_);
    }
  });
}

absl::StatusOr<CUevent_st*> PageTransfers::TakeEvent() {
  CUevent_st* event = nullptr;
  if (!spare_.empty()) {
    event = spare_.back();
    spare_.pop_back();
  } else if (const cudaError_t error = cudaEventCreateWithFlags(&event, cudaEventDisableTiming); error != cudaSuccess) {
    (void)cudaGetLastError();
    return ToStatus(error, kWhat);
  }
  return event;
}

// One event serves twice: it says first that the steps are done, for which the stream waits, and then that the copies
// are.
absl::StatusOr<uint64_t> PageTransfers::Start(absl::FunctionRef<void()> copy) {
  absl::StatusOr<CUevent_st*> event = TakeEvent();
  if (!event.ok()) return event.status();
  cudaError_t error = cudaEventRecord(*event, steps_);
  if (error == cudaSuccess) error = cudaStreamWaitEvent(stream_, *event, 0);
  if (error == cudaSuccess) {
    copy();
    error = cudaGetLastError();
  }
  if (error == cudaSuccess) error = cudaEventRecord(*event, stream_);
  if (error != cudaSuccess) {
    cudaStreamSynchronize(stream_);  // Some copies may be under way.
    (void)cudaGetLastError();
    spare_.push_back(*event);
    return ToStatus(error, kWhat);
  }
  under_way_.push_back(*event);
  return num_done_ + under_way_.size();
}

absl::StatusOr<uint64_t> PageTransfers::Done(uint64_t wait_for) {
  QUIRE_CHECK(wait_for <= num_done_ + under_way_.size());
  while (!under_way_.empty()) {
    CUevent_st* const event = under_way_.front();
    const cudaError_t error = num_done_ < wait_for ? cudaEventSynchronize(event) : cudaEventQuery(event);
    if (error != cudaSuccess) (void)cudaGetLastError();  // Also "not ready" is left there, for others to stumble over.
    if (error == cudaErrorNotReady) break;
    if (error != cudaSuccess) return ToStatus(error, kWhat);
    spare_.push_back(event);
    under_way_.pop_front();
    ++num_done_;
  }
  return num_done_;
}

}  // namespace quire
