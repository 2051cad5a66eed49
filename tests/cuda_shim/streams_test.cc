// Streams, events and graphs of the emulated runtime.
#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <functional>
#include <vector>

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/device_memory.h"
#include "kernels/cuda/launch.cuh"
#include "tests/cuda_shim/control.h"

namespace quire {
namespace {

using cuda_shim::Call;

__global__ void Append(int* list, int value) { list[++list[0]] = value; }

class CudaShimStreams : public testing::Test {
 protected:
  void SetUp() override {
    cuda_shim::Reset();
    for (cudaStream_t* stream : {&first_, &second_}) {
      ASSERT_EQ(cudaStreamCreateWithFlags(stream, cudaStreamNonBlocking), cudaSuccess);
    }
    ASSERT_EQ(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), cudaSuccess);
  }
  void TearDown() override {
    cuda_shim::Reset();
    EXPECT_EQ(cudaStreamDestroy(first_), cudaSuccess);
    EXPECT_EQ(cudaStreamDestroy(second_), cudaSuccess);
    EXPECT_EQ(cudaEventDestroy(event_), cudaSuccess);
  }

  cudaError_t Put(cudaStream_t stream, int value) {
    return Launch(Append, LaunchShape{.stream = stream}, list_, value);
  }
  std::vector<int> Done() const { return {list_ + 1, list_ + 1 + list_[0]}; }

  // Captures `put` on the first stream; the graph is to be destroyed.
  template <typename Function>
  cudaGraphExec_t Capture(const Function& put) {
    EXPECT_EQ(cudaStreamBeginCapture(first_, cudaStreamCaptureModeGlobal), cudaSuccess);
    put();
    cudaGraph_t graph = nullptr;
    EXPECT_EQ(cudaStreamEndCapture(first_, &graph), cudaSuccess);
    cudaGraphExec_t executable = nullptr;
    EXPECT_EQ(cudaGraphInstantiate(&executable, graph), cudaSuccess);
    EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
    return executable;
  }

  using Values = std::vector<int>;
  cudaStream_t first_ = nullptr, second_ = nullptr;
  cudaEvent_t event_ = nullptr;
  int list_[20] = {};
};

TEST_F(CudaShimStreams, WorkIsDoneAtOnceUnlessItIsDeferred) {
  ASSERT_EQ(Put(first_, 1), cudaSuccess);
  EXPECT_EQ(Done(), Values{1});
  EXPECT_EQ(cudaStreamQuery(first_), cudaSuccess);
  cuda_shim::SetDeferred(true);
  ASSERT_EQ(Put(first_, 2), cudaSuccess);
  ASSERT_EQ(Put(first_, 3), cudaSuccess);
  EXPECT_EQ(Done(), Values{1});
  ASSERT_EQ(cudaStreamSynchronize(second_), cudaSuccess);
  EXPECT_EQ(Done(), Values{1});
  ASSERT_EQ(cudaStreamSynchronize(first_), cudaSuccess);
  EXPECT_EQ(Done(), (Values{1, 2, 3}));
}

TEST_F(CudaShimStreams, AsynchronousCopiesReadPinnedMemoryWhenTheyAreDone) {
  cuda_shim::SetDeferred(true);
  const auto pinned = PinnedMemory::Allocate(1, "a test").value();
  const auto device = DeviceMemory::Allocate(2, "a test").value();
  std::byte pageable{1}, result[2] = {};
  pinned.data()[0] = std::byte{1};
  ASSERT_EQ(cudaMemcpyAsync(device.data(), pinned.data(), 1, cudaMemcpyHostToDevice, first_), cudaSuccess);
  ASSERT_EQ(cudaMemcpyAsync(device.data() + 1, &pageable, 1, cudaMemcpyHostToDevice, first_), cudaSuccess);
  pinned.data()[0] = pageable = std::byte{2};  // Too early for the pinned one.
  ASSERT_EQ(cudaMemcpyAsync(result, device.data(), 2, cudaMemcpyDeviceToHost, first_), cudaSuccess);
  EXPECT_EQ(result[0], std::byte{2});
  EXPECT_EQ(result[1], std::byte{1});
}

TEST_F(CudaShimStreams, AStreamWaitsForAnotherByAnEvent) {
  cuda_shim::SetDeferred(true);
  ASSERT_EQ(Put(first_, 1), cudaSuccess);
  ASSERT_EQ(cudaEventRecord(event_, first_), cudaSuccess);
  ASSERT_EQ(Put(first_, 2), cudaSuccess);
  ASSERT_EQ(cudaStreamWaitEvent(second_, event_), cudaSuccess);
  ASSERT_EQ(Put(second_, 3), cudaSuccess);
  ASSERT_EQ(cudaStreamSynchronize(second_), cudaSuccess);
  EXPECT_EQ(Done(), (Values{1, 3}));
  EXPECT_EQ(cudaEventQuery(event_), cudaSuccess);
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  EXPECT_EQ(Done(), (Values{1, 3, 2}));
}

TEST_F(CudaShimStreams, WhoeverPollsComesToAnEnd) {
  cuda_shim::SetDeferred(true);
  ASSERT_EQ(Put(first_, 1), cudaSuccess);
  ASSERT_EQ(Put(first_, 2), cudaSuccess);
  ASSERT_EQ(cudaEventRecord(event_, first_), cudaSuccess);
  EXPECT_EQ(cudaEventQuery(event_), cudaErrorNotReady);
  EXPECT_EQ(cudaEventQuery(event_), cudaErrorNotReady);
  EXPECT_EQ(cudaEventQuery(event_), cudaSuccess);
  EXPECT_EQ(Done(), (Values{1, 2}));
}

TEST_F(CudaShimStreams, TheDefaultStreamWaitsForBlockingStreamsOnly) {
  cudaStream_t blocking = nullptr;
  ASSERT_EQ(cudaStreamCreate(&blocking), cudaSuccess);
  cuda_shim::SetDeferred(true);
  ASSERT_EQ(Put(first_, 1), cudaSuccess);
  ASSERT_EQ(Put(blocking, 2), cudaSuccess);
  ASSERT_EQ(Put(nullptr, 3), cudaSuccess);
  EXPECT_EQ(Done(), (Values{2, 3}));
  ASSERT_EQ(cudaStreamDestroy(blocking), cudaSuccess);
}

TEST_F(CudaShimStreams, WorkBehindAFailedKernelIsNotDone) {
  cuda_shim::SetDeferred(true);
  ASSERT_EQ(Put(first_, 1), cudaSuccess);
  ASSERT_EQ(Put(first_, 2), cudaSuccess);
  cuda_shim::FailNext(Call::kExecution, cudaErrorIllegalAddress, 1);
  ASSERT_EQ(Put(first_, 3), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(first_), cudaErrorIllegalAddress);
  EXPECT_EQ(Done(), Values{1});
}

TEST_F(CudaShimStreams, HandlesThatWereDestroyedAreRefused) {
  cudaStream_t stream = nullptr;
  cudaEvent_t event = nullptr;
  ASSERT_EQ(cudaStreamCreate(&stream), cudaSuccess);
  ASSERT_EQ(cudaEventCreate(&event), cudaSuccess);
  ASSERT_EQ(cudaStreamDestroy(stream), cudaSuccess);
  ASSERT_EQ(cudaEventDestroy(event), cudaSuccess);
  EXPECT_EQ(Put(stream, 1), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaEventRecord(event, first_), cudaErrorInvalidResourceHandle);
}

TEST_F(CudaShimStreams, AGraphDoesWhatWasCapturedWithTheMemoryOfItsLaunch) {
  const auto device = DeviceMemory::Allocate(sizeof(int), "a test").value();
  auto* const x = reinterpret_cast<int*>(device.data());
  const cudaGraphExec_t graph = Capture([&] {
    EXPECT_EQ(Put(first_, 1), cudaSuccess);
    EXPECT_EQ(cudaMemcpyAsync(x, &list_[0], sizeof(int), cudaMemcpyHostToDevice, first_), cudaSuccess);
    EXPECT_EQ(cudaMemsetAsync(&list_[0], 0, sizeof(int), first_), cudaSuccess);
    EXPECT_EQ(Put(first_, 2), cudaSuccess);
  });
  EXPECT_EQ(Done(), Values{});
  const int64_t before = cuda_shim::NumKernelsRun();
  list_[0] = 4;
  ASSERT_EQ(cudaGraphLaunch(graph, second_), cudaSuccess);
  EXPECT_EQ(*x, 5);
  EXPECT_EQ(list_[5], 1);
  EXPECT_EQ(Done(), Values{2});
  EXPECT_EQ(cuda_shim::NumKernelsRun(), before + 2);
  ASSERT_EQ(cudaGraphLaunch(graph, second_), cudaSuccess);
  EXPECT_EQ(*x, 2);
  ASSERT_EQ(cudaGraphExecDestroy(graph), cudaSuccess);
}

TEST_F(CudaShimStreams, ACaptureFollowsEventsToOtherStreamsAndBack) {
  const cudaGraphExec_t graph = Capture([&] {
    EXPECT_EQ(Put(first_, 1), cudaSuccess);
    EXPECT_EQ(cudaEventRecord(event_, first_), cudaSuccess);
    EXPECT_EQ(cudaStreamWaitEvent(second_, event_), cudaSuccess);
    EXPECT_EQ(Put(second_, 2), cudaSuccess);
    EXPECT_EQ(cudaEventRecord(event_, second_), cudaSuccess);
    EXPECT_EQ(cudaStreamWaitEvent(first_, event_), cudaSuccess);
    EXPECT_EQ(Put(first_, 3), cudaSuccess);
  });
  ASSERT_EQ(cudaGraphLaunch(graph, first_), cudaSuccess);
  EXPECT_EQ(Done(), (Values{1, 2, 3}));
  ASSERT_EQ(Put(second_, 4), cudaSuccess);  // Is no longer captured.
  EXPECT_EQ(Done(), (Values{1, 2, 3, 4}));
  ASSERT_EQ(cudaGraphExecDestroy(graph), cudaSuccess);
}

TEST_F(CudaShimStreams, ACaptureWithAnOpenEndFails) {
  ASSERT_EQ(cudaStreamBeginCapture(first_, cudaStreamCaptureModeGlobal), cudaSuccess);
  ASSERT_EQ(cudaEventRecord(event_, first_), cudaSuccess);
  ASSERT_EQ(cudaStreamWaitEvent(second_, event_), cudaSuccess);
  ASSERT_EQ(Put(second_, 1), cudaSuccess);
  cudaGraph_t graph = nullptr;
  EXPECT_EQ(cudaStreamEndCapture(first_, &graph), cudaErrorStreamCaptureUnjoined);
  EXPECT_EQ(graph, nullptr);
}

TEST_F(CudaShimStreams, CallsThatACaptureDoesNotAllowSpoilIt) {
  const auto device = DeviceMemory::Allocate(4, "a test").value();
  int x = 0;
  void* pointer = nullptr;
  const std::function<cudaError_t()> not_allowed[] = {
      [&] { return cudaMalloc(&pointer, 4); },
      [&] { return cudaStreamSynchronize(first_); },
      [&] { return cudaDeviceSynchronize(); },
      [&] { return cudaMemcpy(&x, device.data(), 4, cudaMemcpyDeviceToHost); },
  };
  for (const auto& call : not_allowed) {
    ASSERT_EQ(cudaStreamBeginCapture(first_, cudaStreamCaptureModeGlobal), cudaSuccess);
    EXPECT_EQ(call(), cudaErrorStreamCaptureUnsupported);
    EXPECT_EQ(Put(first_, 1), cudaErrorStreamCaptureInvalidated);
    cudaGraph_t graph = nullptr;
    EXPECT_EQ(cudaStreamEndCapture(first_, &graph), cudaErrorStreamCaptureInvalidated);
  }
  EXPECT_EQ(Put(first_, 1), cudaSuccess);
  EXPECT_EQ(Done(), Values{1});
}

TEST_F(CudaShimStreams, TheFailureOfAKernelInAGraphEndsIt) {
  const cudaGraphExec_t graph = Capture([&] {
    for (int i = 1; i <= 3; ++i) EXPECT_EQ(Put(first_, i), cudaSuccess);
  });
  cuda_shim::FailNext(Call::kExecution, cudaErrorIllegalAddress, 1);
  EXPECT_EQ(cudaGraphLaunch(graph, first_), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(first_), cudaErrorIllegalAddress);
  EXPECT_EQ(Done(), Values{1});
  ASSERT_EQ(cudaGraphExecDestroy(graph), cudaSuccess);
}

}  // namespace
}  // namespace quire
